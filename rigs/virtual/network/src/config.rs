//! What the network looks like to the device.
//!
//! One plain structure, checked once in [`Gateway::new`](crate::Gateway::new), so that the rest of the crate
//! never meets an address outside the subnet or a name that fits no DNS label.

use std::net::{IpAddr, Ipv4Addr};

use crate::GatewayError;

/// The device's subnet, and who in it has which address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Network address, host bits zero.
    pub network: Ipv4Addr,
    /// Length of the network prefix in bits, 8 to 29.
    pub prefix_bits: u8,
    /// The gateway. TCP and UDP to it reach this machine's loopback at the same port.
    pub gateway: Ipv4Addr,
    /// The DNS server.
    pub dns: Ipv4Addr,
    /// The first address the DHCP server gives away; more follow upwards to the end of the subnet.
    pub first_lease: Ipv4Addr,
}

impl Default for Subnet {
    /// 10.0.2.0/24 with the gateway at .2, DNS at .3 and leases from .15: what QEMU's user network has, so
    /// that an image finds the same network there and here.
    fn default() -> Self {
        Self {
            network: Ipv4Addr::new(10, 0, 2, 0),
            prefix_bits: 24,
            gateway: Ipv4Addr::new(10, 0, 2, 2),
            dns: Ipv4Addr::new(10, 0, 2, 3),
            first_lease: Ipv4Addr::new(10, 0, 2, 15),
        }
    }
}

impl Subnet {
    /// Network mask, as DHCP announces it.
    pub fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(
            u32::MAX
                .checked_shl(32 - u32::from(self.prefix_bits))
                .unwrap_or(0),
        )
    }

    /// Broadcast address of the subnet.
    pub fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.to_bits() | !self.mask().to_bits())
    }

    /// Whether `address` may belong to a host of this subnet.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask().to_bits() == self.network.to_bits()
            && address != self.network
            && address != self.broadcast()
    }
}

/// Everything about a [`Gateway`](crate::Gateway) that is fixed for its life.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// All chance comes from here: faults, initial sequence numbers.
    pub seed: u64,
    /// Addresses.
    pub subnet: Subnet,
    /// Wall time of chip time zero, in nanoseconds since 1970-01-01T00:00:00Z. SNTP serves this plus chip
    /// time; captures are stamped with it.
    pub wall_epoch_unix_nanos: u64,
    /// Names the DNS server knows besides `gateway` and `gateway.rig`. Upper and lower case are the same.
    pub names: Vec<(String, Ipv4Addr)>,
    /// Addresses beyond the gateway's that the device may talk to, each with the host that is meant. Without
    /// an entry here nothing but 127.0.0.1 is ever contacted.
    pub hosts: Vec<(Ipv4Addr, IpAddr)>,
    /// Length of a DHCP lease in seconds of chip time.
    pub lease_seconds: u32,
    /// Receive and transmit buffer of one TCP connection, each, in bytes. Beyond it the sender waits.
    pub tcp_buffer_bytes: usize,
    /// Chip time after which a TCP connection whose data or SYN the device does not acknowledge is given up,
    /// in nanoseconds.
    pub tcp_timeout_nanos: u64,
    /// Chip time without a datagram after which a UDP flow is forgotten, in nanoseconds.
    pub udp_idle_nanos: u64,
    /// Connections and UDP flows at once, each; more are refused.
    pub flows_max: usize,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            seed: 0,
            subnet: Subnet::default(),
            wall_epoch_unix_nanos: 0,
            names: Vec::new(),
            hosts: Vec::new(),
            lease_seconds: 86_400,
            tcp_buffer_bytes: 65_536,
            tcp_timeout_nanos: 120_000_000_000,
            udp_idle_nanos: 60_000_000_000,
            flows_max: 512,
        }
    }
}

impl GatewayConfig {
    /// Says what does not fit together, if anything.
    pub(crate) fn check(&self) -> Result<(), GatewayError> {
        let subnet = &self.subnet;
        let refuse = |what: String| Err(GatewayError::Config { what });
        if !(8..=29).contains(&subnet.prefix_bits) {
            return refuse(format!(
                "prefix length `{}` of the subnet is not between 8 and 29",
                subnet.prefix_bits
            ));
        }
        if subnet.network.to_bits() & !subnet.mask().to_bits() != 0 {
            return refuse(format!(
                "network address `{}` has host bits set below its {}-bit prefix",
                subnet.network, subnet.prefix_bits
            ));
        }
        for (what, address) in [
            ("gateway", subnet.gateway),
            ("dns", subnet.dns),
            ("first lease", subnet.first_lease),
        ] {
            if !subnet.contains(address) {
                return refuse(format!(
                    "{what} address `{address}` is not a host of {}/{}",
                    subnet.network, subnet.prefix_bits
                ));
            }
        }
        if [subnet.gateway, subnet.dns].contains(&subnet.first_lease) {
            return refuse(format!(
                "first lease `{}` is taken by the gateway or the DNS server",
                subnet.first_lease
            ));
        }
        for (name, _) in &self.names {
            let fits = name.len() <= 253
                && name
                    .trim_end_matches('.')
                    .split('.')
                    .all(|label| !label.is_empty() && label.len() <= 63);
            if !fits {
                return refuse(format!("`{name}` is not a DNS name"));
            }
        }
        for (address, _) in &self.hosts {
            if *address == subnet.gateway || *address == subnet.dns {
                return refuse(format!(
                    "host `{address}` is the gateway's or the DNS server's own address"
                ));
            }
            if subnet.contains(*address) {
                return refuse(format!(
                    "host `{address}` is in the device's own network; only what lies behind the gateway is passed on"
                ));
            }
        }
        if self.tcp_buffer_bytes < 2_048 || self.tcp_buffer_bytes > 1 << 20 {
            return refuse(format!(
                "TCP buffer of {} bytes is not between 2,048 and 1,048,576",
                self.tcp_buffer_bytes
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut GatewayConfig), expected: &str) {
        let mut config = GatewayConfig::default();
        change(&mut config);
        let said = config
            .check()
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert_eq!(said, expected);
    }

    #[test]
    fn says_what_does_not_fit() {
        check(|_| {}, "");
        check(
            |c| c.subnet.gateway = Ipv4Addr::new(10, 0, 3, 2),
            "gateway address `10.0.3.2` is not a host of 10.0.2.0/24",
        );
        check(
            |c| c.subnet.network = Ipv4Addr::new(10, 0, 2, 1),
            "network address `10.0.2.1` has host bits set below its 24-bit prefix",
        );
        check(
            |c| c.subnet.prefix_bits = 31,
            "prefix length `31` of the subnet is not between 8 and 29",
        );
        check(
            |c| c.subnet.first_lease = c.subnet.dns,
            "first lease `10.0.2.3` is taken by the gateway or the DNS server",
        );
        check(
            |c| c.names.push(("a..b".into(), Ipv4Addr::LOCALHOST)),
            "`a..b` is not a DNS name",
        );
        check(
            |c| c.hosts = vec![(Ipv4Addr::new(10, 0, 2, 4), Ipv4Addr::LOCALHOST.into())],
            "host `10.0.2.4` is in the device's own network; only what lies behind the gateway is passed on",
        );
    }

    #[test]
    fn mask_and_broadcast_follow_the_prefix() {
        let subnet = Subnet {
            prefix_bits: 20,
            network: Ipv4Addr::new(10, 0, 16, 0),
            ..Subnet::default()
        };
        assert_eq!(subnet.mask(), Ipv4Addr::new(255, 255, 240, 0));
        assert_eq!(subnet.broadcast(), Ipv4Addr::new(10, 0, 31, 255));
        assert!(!subnet.contains(Ipv4Addr::new(10, 0, 31, 255)));
        assert!(subnet.contains(Ipv4Addr::new(10, 0, 31, 254)));
    }
}
