//! A gate between the device and its broker, to be shut and opened again.
//!
//! Only the device goes through it. So the host keeps its own session with the broker, and sees
//! what becomes of the device's; and it works with any broker, whoever runs it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use hil_mqtt::Broker;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A TCP relay on a port of its own. Dropped, it is shut.
#[derive(Debug)]
pub(crate) struct Gate {
    address: SocketAddr,
    /// Host and port of the broker.
    broker: (String, u16),
    open: Option<JoinHandle<()>>,
    silent: watch::Sender<bool>,
}

impl Gate {
    /// Opens a gate to `broker` on a free port of `listen`.
    pub(crate) async fn open(listen: Ipv4Addr, broker: &Broker) -> io::Result<Self> {
        let listener = TcpListener::bind((listen, 0)).await?;
        let mut gate = Self {
            address: listener.local_addr()?,
            broker: (broker.host().to_owned(), broker.port()),
            open: None,
            silent: watch::Sender::new(false),
        };
        gate.serve(listener);
        Ok(gate)
    }

    /// TCP port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Ends all connections without a word of MQTT; from now on new ones are refused.
    pub(crate) async fn shut(&mut self) {
        if let Some(task) = self.open.take() {
            task.abort();
            // It ends at its next step, and its listener with it; how is known.
            let _ = task.await;
        }
    }

    /// Opens a shut gate, on the same port.
    pub(crate) async fn reopen(&mut self) -> io::Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        self.serve(listener);
        Ok(())
    }

    /// From now on connections stay, and nothing comes through: what the device says is swallowed.
    pub(crate) fn fall_silent(&self) {
        self.silent.send_replace(true);
    }

    /// Ends the connections that were silent; new ones are relayed again.
    pub(crate) fn speak(&self) {
        self.silent.send_replace(false);
    }

    fn serve(&mut self, listener: TcpListener) {
        let broker = self.broker.clone();
        let silent = self.silent.subscribe();
        self.open = Some(tokio::spawn(async move {
            // Connections end with this task: a set of tasks aborts them when it is dropped.
            let mut connections = JoinSet::new();
            while let Ok((device, _)) = listener.accept().await {
                connections.spawn(relay(device, broker.clone(), silent.clone()));
            }
        }));
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if let Some(task) = &self.open {
            task.abort();
        }
    }
}

/// Either side sees of the other's end what it would without the gate: the end.
async fn relay(mut device: TcpStream, broker: (String, u16), mut silent: watch::Receiver<bool>) {
    if !*silent.borrow_and_update() {
        let Ok(mut broker) = TcpStream::connect(broker).await else {
            return;
        };
        // Small packets are not to wait for each other longer than without a gate.
        let _ = (device.set_nodelay(true), broker.set_nodelay(true));
        tokio::select! {
            _ = copy_bidirectional(&mut device, &mut broker) => return,
            _ = silent.wait_for(|silent| *silent) => {}
        }
        // The broker sees the end of the connection, the device does not.
    }
    let mut nowhere = tokio::io::sink();
    tokio::select! {
        _ = tokio::io::copy(&mut device, &mut nowhere) => {}
        _ = silent.wait_for(|silent| !*silent) => {}
    }
}

#[cfg(test)]
mod tests {
    use hil_mqtt::{Client, ConnectOptions, EmbeddedSettings, Qos};

    use super::*;

    #[tokio::test]
    async fn what_is_shut_can_be_opened_again() {
        let broker = Broker::embedded(EmbeddedSettings::default())
            .await
            .expect("a broker");
        let mut gate = Gate::open(Ipv4Addr::LOCALHOST, &broker)
            .await
            .expect("a gate");
        let options = ConnectOptions::new("127.0.0.1", gate.port(), "device");
        let client = Client::connect(options.clone()).await.expect("through");
        client
            .publish("a/b", "x", Qos::AtLeastOnce, false)
            .await
            .expect("acknowledged");
        gate.shut().await;
        let cut = client.publish("a/b", "x", Qos::AtLeastOnce, false).await;
        cut.expect_err("the connection is cut");
        Client::connect(options.clone()).await.expect_err("refused");
        gate.reopen().await.expect("the same port");
        Client::connect(options).await.expect("through again");
    }

    #[tokio::test]
    async fn what_is_silent_stays_open_until_it_speaks() {
        let broker = Broker::embedded(EmbeddedSettings::default())
            .await
            .expect("a broker");
        let gate = Gate::open(Ipv4Addr::LOCALHOST, &broker)
            .await
            .expect("a gate");
        let options = ConnectOptions::new("127.0.0.1", gate.port(), "device");
        let client = Client::connect(options.clone()).await.expect("through");
        gate.fall_silent();
        let unheard = client.publish("a/b", "x", Qos::AtLeastOnce, false);
        let limit = std::time::Duration::from_millis(300);
        let unheard = tokio::time::timeout(limit, unheard).await;
        unheard.expect_err("neither acknowledged nor refused");
        assert!(client.is_connected());
        gate.speak();
        let gone = client.publish("a/b", "x", Qos::AtLeastOnce, false).await;
        gone.expect_err("the silent connection has ended");
        Client::connect(options).await.expect("through again");
    }
}
