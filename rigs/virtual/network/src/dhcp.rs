//! DHCP server (RFC 2131): one subnet, addresses from a range upwards, bound to MAC addresses.
//!
//! A device keeps its address over resets, since leases are remembered by MAC address. Options served:
//! subnet mask, router, DNS, NTP (42), lease, renewal and rebinding times.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use smoltcp::wire::{DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress};

use crate::config::Subnet;

pub(crate) const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;
/// How long an offer is kept for the one it was made to, in nanoseconds.
const OFFER_NANOS: u64 = 30_000_000_000;

const OPTION_NTP_SERVERS: u8 = 42;
const OPTION_RENEWAL_SECONDS: u8 = 58;
const OPTION_REBINDING_SECONDS: u8 = 59;

/// The server and its leases.
pub(crate) struct Dhcp {
    subnet: Subnet,
    lease_seconds: u32,
    leases: BTreeMap<Ipv4Addr, Lease>,
}

struct Lease {
    holder: Holder,
    until_nanos: u64,
}

#[derive(PartialEq, Eq)]
enum Holder {
    Client(EthernetAddress),
    /// Somebody declined the address: another host has it (RFC 2131 section 4.3.3).
    Stranger,
}

/// A message to send, and where to.
pub(crate) struct Answer {
    pub(crate) mac: EthernetAddress,
    pub(crate) to: SocketAddrV4,
    pub(crate) payload: Vec<u8>,
}

impl Dhcp {
    pub(crate) fn new(subnet: Subnet, lease_seconds: u32) -> Self {
        Self {
            subnet,
            lease_seconds,
            leases: BTreeMap::new(),
        }
    }

    /// Answers a client's message, if it wants an answer.
    pub(crate) fn answer(&mut self, now_nanos: u64, message: &[u8]) -> Option<Answer> {
        let packet = DhcpPacket::new_checked(message).ok()?;
        let request = DhcpRepr::parse(&packet).ok()?;
        let for_another = request
            .server_identifier
            .is_some_and(|server| server != self.subnet.gateway);
        let client = request.client_hardware_address;
        match request.message_type {
            DhcpMessageType::Discover => {
                let address = self.choose(now_nanos, client, request.requested_ip)?;
                self.bind(address, client, now_nanos.saturating_add(OFFER_NANOS));
                self.reply(&request, DhcpMessageType::Offer, Some(address))
            }
            DhcpMessageType::Request if for_another => {
                // The client chose another server's offer; ours is free again.
                self.release(client);
                None
            }
            DhcpMessageType::Request => {
                let wanted = match request.client_ip {
                    Ipv4Addr::UNSPECIFIED => request.requested_ip?,
                    bound => bound,
                };
                if self.choose(now_nanos, client, Some(wanted)) != Some(wanted) {
                    return self.reply(&request, DhcpMessageType::Nak, None);
                }
                let lease_nanos = u64::from(self.lease_seconds) * 1_000_000_000;
                self.bind(wanted, client, now_nanos.saturating_add(lease_nanos));
                self.reply(&request, DhcpMessageType::Ack, Some(wanted))
            }
            DhcpMessageType::Inform => self.reply(&request, DhcpMessageType::Ack, None),
            DhcpMessageType::Release => {
                self.release(client);
                None
            }
            DhcpMessageType::Decline => {
                if let Some(address) = request.requested_ip.filter(|_| !for_another)
                    && self.holds(address, client)
                {
                    let lease_nanos = u64::from(self.lease_seconds) * 1_000_000_000;
                    self.leases.insert(
                        address,
                        Lease {
                            holder: Holder::Stranger,
                            until_nanos: now_nanos.saturating_add(lease_nanos),
                        },
                    );
                }
                None
            }
            _ => None,
        }
    }

    /// The address for `client`: the one it has, else the one it wants if free, else the first free one.
    fn choose(
        &self,
        now_nanos: u64,
        client: EthernetAddress,
        wanted: Option<Ipv4Addr>,
    ) -> Option<Ipv4Addr> {
        let held = self
            .leases
            .iter()
            .find(|(_, lease)| lease.holder == Holder::Client(client))
            .map(|(address, _)| *address);
        let free = |address: &Ipv4Addr| {
            self.in_range(*address)
                && self
                    .leases
                    .get(address)
                    .is_none_or(|lease| lease.until_nanos <= now_nanos)
        };
        held.or_else(|| wanted.filter(free))
            .or_else(|| self.range().find(free))
    }

    fn range(&self) -> impl Iterator<Item = Ipv4Addr> + use<> {
        let first = self.subnet.first_lease.to_bits();
        let end = self.subnet.broadcast().to_bits();
        (first..end).map(Ipv4Addr::from_bits)
    }

    fn in_range(&self, address: Ipv4Addr) -> bool {
        address >= self.subnet.first_lease
            && self.subnet.contains(address)
            && address != self.subnet.gateway
            && address != self.subnet.dns
    }

    fn holds(&self, address: Ipv4Addr, client: EthernetAddress) -> bool {
        self.leases
            .get(&address)
            .is_some_and(|lease| lease.holder == Holder::Client(client))
    }

    fn bind(&mut self, address: Ipv4Addr, client: EthernetAddress, until_nanos: u64) {
        // A client that asks again while its lease runs keeps the longer of the two.
        let until_nanos = match self.leases.get(&address) {
            Some(lease) if lease.holder == Holder::Client(client) => {
                lease.until_nanos.max(until_nanos)
            }
            _ => until_nanos,
        };
        self.leases.insert(
            address,
            Lease {
                holder: Holder::Client(client),
                until_nanos,
            },
        );
    }

    fn release(&mut self, client: EthernetAddress) {
        self.leases
            .retain(|_, lease| lease.holder != Holder::Client(client));
    }

    fn reply(
        &self,
        request: &DhcpRepr<'_>,
        kind: DhcpMessageType,
        address: Option<Ipv4Addr>,
    ) -> Option<Answer> {
        let subnet = &self.subnet;
        let refused = kind == DhcpMessageType::Nak;
        let leased = address.is_some();
        let renewal = (self.lease_seconds / 2).to_be_bytes();
        let rebinding = (self.lease_seconds / 8 * 7).to_be_bytes();
        let ntp = subnet.gateway.octets();
        let options = [
            DhcpOption {
                kind: OPTION_NTP_SERVERS,
                data: &ntp,
            },
            DhcpOption {
                kind: OPTION_RENEWAL_SECONDS,
                data: &renewal,
            },
            DhcpOption {
                kind: OPTION_REBINDING_SECONDS,
                data: &rebinding,
            },
        ];
        let options = match (refused, leased) {
            (true, _) => &options[..0],
            (false, false) => &options[..1],
            (false, true) => &options[..],
        };
        let message = DhcpRepr {
            message_type: kind,
            transaction_id: request.transaction_id,
            secs: 0,
            client_hardware_address: request.client_hardware_address,
            client_ip: if refused {
                Ipv4Addr::UNSPECIFIED
            } else {
                request.client_ip
            },
            your_ip: address.unwrap_or(Ipv4Addr::UNSPECIFIED),
            server_ip: if refused {
                Ipv4Addr::UNSPECIFIED
            } else {
                subnet.gateway
            },
            router: (!refused).then_some(subnet.gateway),
            subnet_mask: (!refused).then_some(subnet.mask()),
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: request.broadcast,
            requested_ip: None,
            client_identifier: request.client_identifier,
            server_identifier: Some(subnet.gateway),
            parameter_request_list: None,
            dns_servers: (!refused).then(|| [subnet.dns].into_iter().collect()),
            max_size: None,
            lease_duration: leased.then_some(self.lease_seconds),
            renew_duration: None,
            rebind_duration: None,
            additional_options: options,
        };
        let mut payload = vec![0; message.buffer_len()];
        message
            .emit(&mut DhcpPacket::new_unchecked(&mut payload[..]))
            .ok()?;
        // RFC 2131 section 4.1: where an answer goes.
        let everyone = (EthernetAddress::BROADCAST, Ipv4Addr::BROADCAST);
        let (mac, ip) = if refused {
            everyone
        } else if request.client_ip != Ipv4Addr::UNSPECIFIED {
            (request.client_hardware_address, request.client_ip)
        } else {
            match address {
                Some(address) if !request.broadcast => (request.client_hardware_address, address),
                _ => everyone,
            }
        };
        Some(Answer {
            mac,
            to: SocketAddrV4::new(ip, CLIENT_PORT),
            payload,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const ALICE: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
    const BOB: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);

    fn message(kind: DhcpMessageType, client: EthernetAddress) -> DhcpRepr<'static> {
        DhcpRepr {
            message_type: kind,
            transaction_id: 0x1234_5678,
            secs: 0,
            client_hardware_address: client,
            client_ip: Ipv4Addr::UNSPECIFIED,
            your_ip: Ipv4Addr::UNSPECIFIED,
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            broadcast: false,
            requested_ip: None,
            client_identifier: Some(client),
            server_identifier: None,
            parameter_request_list: None,
            dns_servers: None,
            max_size: None,
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: &[],
        }
    }

    fn ask(
        server: &mut Dhcp,
        now: u64,
        kind: DhcpMessageType,
        client: EthernetAddress,
        change: impl FnOnce(&mut DhcpRepr<'static>),
    ) -> Option<Answer> {
        let mut request = message(kind, client);
        change(&mut request);
        let mut bytes = vec![0; request.buffer_len()];
        request
            .emit(&mut DhcpPacket::new_unchecked(&mut bytes[..]))
            .unwrap();
        server.answer(now, &bytes)
    }

    /// What an answer says: kind, address, destination.
    fn said(answer: Option<Answer>) -> Option<(DhcpMessageType, [u8; 4], [u8; 4])> {
        let answer = answer?;
        let packet = DhcpPacket::new_checked(&answer.payload[..]).unwrap();
        let repr = DhcpRepr::parse(&packet).unwrap();
        Some((
            repr.message_type,
            repr.your_ip.octets(),
            answer.to.ip().octets(),
        ))
    }

    fn server() -> Dhcp {
        Dhcp::new(Subnet::default(), 3_600)
    }

    use DhcpMessageType::{Ack, Decline, Discover, Inform, Nak, Offer, Release, Request};

    #[test]
    fn offers_and_leases_from_the_first_address_on() {
        let mut server = server();
        let address = [10, 0, 2, 15];
        let offer = ask(&mut server, 0, Discover, ALICE, |_| {});
        assert_eq!(said(offer), Some((Offer, address, address)));
        let ack = ask(&mut server, SECOND, Request, ALICE, |request| {
            request.requested_ip = Some(address.into());
            request.server_identifier = Some(Ipv4Addr::new(10, 0, 2, 2));
        });
        assert_eq!(said(ack), Some((Ack, address, address)));
        let other = ask(&mut server, SECOND, Discover, BOB, |_| {});
        assert_eq!(said(other), Some((Offer, [10, 0, 2, 16], [10, 0, 2, 16])));
    }

    #[test]
    fn serves_its_options() {
        let answer = ask(&mut server(), 0, Discover, ALICE, |_| {}).unwrap();
        let packet = DhcpPacket::new_checked(&answer.payload[..]).unwrap();
        let options: BTreeMap<u8, Vec<u8>> = packet
            .options()
            .map(|option| (option.kind, option.data.to_vec()))
            .collect();
        for (kind, data) in [
            (1, vec![255, 255, 255, 0]),
            (3, vec![10, 0, 2, 2]),
            (6, vec![10, 0, 2, 3]),
            (42, vec![10, 0, 2, 2]),
            (51, 3_600_u32.to_be_bytes().to_vec()),
            (54, vec![10, 0, 2, 2]),
            (58, 1_800_u32.to_be_bytes().to_vec()),
            (59, 3_150_u32.to_be_bytes().to_vec()),
        ] {
            assert_eq!(options.get(&kind), Some(&data), "option {kind}");
        }
    }

    #[test]
    fn renews_to_the_address_the_client_has() {
        let mut server = server();
        let address = Ipv4Addr::new(10, 0, 2, 15);
        ask(&mut server, 0, Discover, ALICE, |_| {});
        for now in [0, 1_800 * SECOND, 3_600 * SECOND] {
            let ack = ask(&mut server, now, Request, ALICE, |request| {
                request.client_ip = address;
            });
            assert_eq!(said(ack), Some((Ack, address.octets(), address.octets())));
        }
        // Renewed at 3,600 s: still taken at 7,000 s, free to others after 7,200 s.
        for (now, expected) in [(7_000, [10, 0, 2, 16]), (7_201, [10, 0, 2, 15])] {
            let offer = ask(&mut server, now * SECOND, Discover, BOB, |request| {
                request.requested_ip = Some(address);
            });
            assert_eq!(said(offer).unwrap().1, expected, "at {now} s");
            ask(&mut server, now * SECOND, Release, BOB, |_| {});
        }
    }

    #[test]
    fn refuses_addresses_that_are_anothers_or_outside() {
        let mut server = server();
        ask(&mut server, 0, Discover, ALICE, |_| {});
        for wanted in [[10, 0, 2, 15], [10, 0, 2, 2], [192, 168, 1, 7]] {
            let nak = ask(&mut server, 0, Request, BOB, |request| {
                request.requested_ip = Some(wanted.into());
            });
            assert_eq!(
                said(nak),
                Some((Nak, [0; 4], [255; 4])),
                "{wanted:?} for the second client"
            );
        }
    }

    #[test]
    fn a_restarted_device_gets_its_address_again() {
        let mut server = server();
        for _ in 0..3 {
            let offer = ask(&mut server, 0, Discover, ALICE, |_| {});
            assert_eq!(said(offer).unwrap().1, [10, 0, 2, 15]);
        }
    }

    #[test]
    fn a_declined_address_is_not_offered_again() {
        let mut server = server();
        ask(&mut server, 0, Discover, ALICE, |_| {});
        let silence = ask(&mut server, 0, Decline, ALICE, |request| {
            request.requested_ip = Some(Ipv4Addr::new(10, 0, 2, 15));
        });
        assert!(silence.is_none());
        let offer = ask(&mut server, 0, Discover, ALICE, |_| {});
        assert_eq!(said(offer).unwrap().1, [10, 0, 2, 16]);
    }

    #[test]
    fn another_servers_client_frees_its_offer() {
        let mut server = server();
        ask(&mut server, 0, Discover, ALICE, |_| {});
        let silence = ask(&mut server, 0, Request, ALICE, |request| {
            request.requested_ip = Some(Ipv4Addr::new(10, 0, 2, 99));
            request.server_identifier = Some(Ipv4Addr::new(10, 0, 2, 77));
        });
        assert!(silence.is_none());
        let offer = ask(&mut server, 0, Discover, BOB, |_| {});
        assert_eq!(said(offer).unwrap().1, [10, 0, 2, 15]);
    }

    #[test]
    fn broadcasts_when_asked_and_informs_without_a_lease() {
        let mut server = server();
        let offer = ask(&mut server, 0, Discover, ALICE, |request| {
            request.broadcast = true;
        });
        assert_eq!(said(offer).unwrap().2, [255; 4]);
        let static_address = Ipv4Addr::new(10, 0, 2, 200);
        let ack = ask(&mut server, 0, Inform, ALICE, |request| {
            request.client_ip = static_address;
        });
        assert_eq!(said(ack), Some((Ack, [0; 4], static_address.octets())));
    }

    #[test]
    fn a_full_range_offers_nothing() {
        let mut server = Dhcp::new(
            Subnet {
                first_lease: Ipv4Addr::new(10, 0, 2, 254),
                ..Subnet::default()
            },
            3_600,
        );
        assert!(ask(&mut server, 0, Discover, ALICE, |_| {}).is_some());
        assert!(ask(&mut server, 0, Discover, BOB, |_| {}).is_none());
    }
}
