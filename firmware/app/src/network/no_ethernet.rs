//! In the place of the Ethernet driver, on chips that have no Ethernet: a driver that never is.

use core::{convert::Infallible, marker::PhantomData, task::Context};

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState};

/// Has no value.
pub(super) struct OpenEth(Infallible);

impl OpenEth {
    /// Not called: `provisioning::check` refuses Ethernet here.
    pub(super) fn start() -> Self {
        unreachable!("there is no Ethernet on this chip")
    }
}

/// Nothing to look at.
pub(super) fn look_at_link() {}

/// Nothing to drop.
#[cfg(feature = "test-hooks")]
pub(super) fn set_dropped(_: bool) {}

/// Has no value.
pub(super) struct Token<'a>(Infallible, PhantomData<&'a mut ()>);
pub(super) type RxToken<'a> = Token<'a>;
pub(super) type TxToken<'a> = Token<'a>;

impl Driver for OpenEth {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, _: &mut Context<'_>) -> Option<(RxToken<'_>, TxToken<'_>)> {
        match self.0 {}
    }

    fn transmit(&mut self, _: &mut Context<'_>) -> Option<TxToken<'_>> {
        match self.0 {}
    }

    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        match self.0 {}
    }

    fn capabilities(&self) -> Capabilities {
        match self.0 {}
    }

    fn hardware_address(&self) -> HardwareAddress {
        match self.0 {}
    }
}

impl embassy_net_driver::RxToken for Token<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, _: F) -> R {
        match self.0 {}
    }
}

impl embassy_net_driver::TxToken for Token<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, _: usize, _: F) -> R {
        match self.0 {}
    }
}
