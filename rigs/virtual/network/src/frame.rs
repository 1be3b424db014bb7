//! Frames taken apart and put together.
//!
//! The stack (smoltcp) listens per port and answers nothing on behalf of others, so the gateway looks into
//! every frame first: services and UDP are served from here, and a TCP SYN is held back until the host has
//! accepted. Parsing never panics on foreign bytes; whatever fails a length or checksum test is malformed.

use std::net::{Ipv4Addr, SocketAddrV4};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr,
    Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr, IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr,
    TcpControl, TcpPacket, TcpRepr, UdpPacket, UdpRepr,
};

/// Longest frame on the cable: 1,500 bytes of payload behind the Ethernet header, no FCS.
pub(crate) const FRAME_BYTES_MAX: usize = 1_514;
const ETHERNET_HEADER_BYTES: usize = 14;
const IPV4_HEADER_BYTES: usize = 20;
const UDP_HEADER_BYTES: usize = 8;
/// Longest UDP payload that fits one frame; the gateway does not fragment.
pub(crate) const UDP_PAYLOAD_BYTES_MAX: usize =
    FRAME_BYTES_MAX - ETHERNET_HEADER_BYTES - IPV4_HEADER_BYTES - UDP_HEADER_BYTES;
/// What an ICMP error of 576 bytes has room for behind two IP headers and its own.
const QUOTE_BYTES_MAX: usize = 576 - IPV4_HEADER_BYTES - 8 - IPV4_HEADER_BYTES;
const HOP_LIMIT: u8 = 64;

/// A frame of the device, as far as the gateway must know it.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) source_mac: EthernetAddress,
    pub(crate) destination_mac: EthernetAddress,
    pub(crate) content: Content<'a>,
}

#[derive(Debug)]
pub(crate) enum Content<'a> {
    Arp {
        target: Ipv4Addr,
    },
    Tcp {
        source: SocketAddrV4,
        destination: SocketAddrV4,
        /// Sequence number of a SYN without ACK: somebody opens a connection.
        opening: Option<i32>,
    },
    Udp(Datagram<'a>),
    Icmp {
        source: Ipv4Addr,
        destination: Ipv4Addr,
    },
    /// Well-formed, and not for us: another protocol, a fragment.
    Other,
}

#[derive(Debug)]
pub(crate) struct Datagram<'a> {
    pub(crate) source: SocketAddrV4,
    pub(crate) destination: SocketAddrV4,
    pub(crate) payload: &'a [u8],
    /// What an ICMP error quotes of it.
    pub(crate) quote: Quote<&'a [u8]>,
}

/// The head of a datagram an ICMP error is about: IP header and what follows it, as much as fits 576 bytes
/// (RFC 1812 section 4.3.2.3; the 8 bytes of RFC 792 are too few for smoltcp on the device).
#[derive(Clone, Debug)]
pub(crate) struct Quote<Bytes = Vec<u8>> {
    header: Ipv4Repr,
    bytes: Bytes,
}

impl Quote<&[u8]> {
    /// A quote that outlives the frame.
    pub(crate) fn keep(&self) -> Quote {
        Quote {
            header: self.header,
            bytes: self.bytes.to_vec(),
        }
    }
}

/// Looks into a frame; `None` when it is malformed.
pub(crate) fn look(frame: &[u8]) -> Option<Seen<'_>> {
    if frame.len() > FRAME_BYTES_MAX {
        return None;
    }
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    let content = match ethernet.ethertype() {
        EthernetProtocol::Arp => look_arp(&frame[ETHERNET_HEADER_BYTES..])?,
        EthernetProtocol::Ipv4 => look_ipv4(&frame[ETHERNET_HEADER_BYTES..])?,
        _ => Content::Other,
    };
    Some(Seen {
        source_mac: ethernet.src_addr(),
        destination_mac: ethernet.dst_addr(),
        content,
    })
}

fn look_arp(bytes: &[u8]) -> Option<Content<'_>> {
    let packet = ArpPacket::new_checked(bytes).ok()?;
    match ArpRepr::parse(&packet).ok()? {
        ArpRepr::EthernetIpv4 {
            target_protocol_addr,
            ..
        } => Some(Content::Arp {
            target: target_protocol_addr,
        }),
        _ => Some(Content::Other),
    }
}

fn look_ipv4(bytes: &[u8]) -> Option<Content<'_>> {
    let checksums = ChecksumCapabilities::default();
    let packet = Ipv4Packet::new_checked(bytes).ok()?;
    let header = Ipv4Repr::parse(&packet, &checksums).ok()?;
    if packet.more_frags() || packet.frag_offset() != 0 {
        return Some(Content::Other);
    }
    // Through `bytes`, so that what is returned borrows from the frame and not from `packet`.
    let payload = bytes.get(usize::from(packet.header_len())..usize::from(packet.total_len()))?;
    let (from, to) = (
        IpAddress::Ipv4(header.src_addr),
        IpAddress::Ipv4(header.dst_addr),
    );
    match header.next_header {
        IpProtocol::Tcp => {
            let packet = TcpPacket::new_checked(payload).ok()?;
            let tcp = TcpRepr::parse(&packet, &from, &to, &checksums).ok()?;
            let opening = tcp.control == TcpControl::Syn && tcp.ack_number.is_none();
            Some(Content::Tcp {
                source: SocketAddrV4::new(header.src_addr, tcp.src_port),
                destination: SocketAddrV4::new(header.dst_addr, tcp.dst_port),
                opening: opening.then_some(tcp.seq_number.0),
            })
        }
        IpProtocol::Udp => {
            let packet = UdpPacket::new_checked(payload).ok()?;
            let udp = UdpRepr::parse(&packet, &from, &to, &checksums).ok()?;
            Some(Content::Udp(Datagram {
                source: SocketAddrV4::new(header.src_addr, udp.src_port),
                destination: SocketAddrV4::new(header.dst_addr, udp.dst_port),
                payload: payload.get(UDP_HEADER_BYTES..usize::from(packet.len()))?,
                quote: Quote {
                    header,
                    bytes: &payload[..payload.len().min(QUOTE_BYTES_MAX)],
                },
            }))
        }
        IpProtocol::Icmp => Some(Content::Icmp {
            source: header.src_addr,
            destination: header.dst_addr,
        }),
        _ => Some(Content::Other),
    }
}

/// Ethernet addresses of an answer: from whom, to whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Macs {
    pub(crate) source: EthernetAddress,
    pub(crate) destination: EthernetAddress,
}

/// A frame with one UDP datagram. `payload` must fit ([`UDP_PAYLOAD_BYTES_MAX`]).
pub(crate) fn udp(
    macs: Macs,
    source: SocketAddrV4,
    destination: SocketAddrV4,
    payload: &[u8],
) -> Vec<u8> {
    let udp = UdpRepr {
        src_port: source.port(),
        dst_port: destination.port(),
    };
    ipv4(
        macs,
        *source.ip(),
        *destination.ip(),
        IpProtocol::Udp,
        UDP_HEADER_BYTES + payload.len(),
        |buffer, checksums| {
            udp.emit(
                &mut UdpPacket::new_unchecked(buffer),
                &IpAddress::Ipv4(*source.ip()),
                &IpAddress::Ipv4(*destination.ip()),
                payload.len(),
                |into| into.copy_from_slice(payload),
                checksums,
            );
        },
    )
}

/// A frame saying that the quoted datagram could not be delivered (RFC 792, RFC 1812 section 5.2.7).
pub(crate) fn unreachable(
    macs: Macs,
    source: Ipv4Addr,
    quote: &Quote<impl AsRef<[u8]>>,
    reason: Icmpv4DstUnreachable,
) -> Vec<u8> {
    let icmp = Icmpv4Repr::DstUnreachable {
        reason,
        header: quote.header,
        data: quote.bytes.as_ref(),
    };
    ipv4(
        macs,
        source,
        quote.header.src_addr,
        IpProtocol::Icmp,
        icmp.buffer_len(),
        |buffer, checksums| icmp.emit(&mut Icmpv4Packet::new_unchecked(buffer), checksums),
    )
}

fn ipv4(
    macs: Macs,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: IpProtocol,
    payload_bytes: usize,
    emit_payload: impl FnOnce(&mut [u8], &ChecksumCapabilities),
) -> Vec<u8> {
    let checksums = ChecksumCapabilities::default();
    let mut frame = vec![0; ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES + payload_bytes];
    EthernetRepr {
        src_addr: macs.source,
        dst_addr: macs.destination,
        ethertype: EthernetProtocol::Ipv4,
    }
    .emit(&mut EthernetFrame::new_unchecked(&mut frame));
    let (_, packet) = frame.split_at_mut(ETHERNET_HEADER_BYTES);
    emit_payload(&mut packet[IPV4_HEADER_BYTES..], &checksums);
    Ipv4Repr {
        src_addr: source,
        dst_addr: destination,
        next_header: protocol,
        payload_len: payload_bytes,
        hop_limit: HOP_LIMIT,
    }
    .emit(&mut Ipv4Packet::new_unchecked(packet), &checksums);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACS: Macs = Macs {
        source: EthernetAddress([2, 0, 0, 0, 0, 1]),
        destination: EthernetAddress([2, 0, 0, 0, 0, 2]),
    };

    fn datagram(payload: &[u8]) -> Vec<u8> {
        udp(
            MACS,
            "10.0.2.15:4000".parse().unwrap(),
            "10.0.2.2:53".parse().unwrap(),
            payload,
        )
    }

    #[test]
    fn reads_back_what_it_writes() {
        for length in [0, 1, 7, UDP_PAYLOAD_BYTES_MAX] {
            let payload = vec![0xA5; length];
            let frame = datagram(&payload);
            let Some(Seen {
                content: Content::Udp(seen),
                ..
            }) = look(&frame)
            else {
                panic!("no datagram in {frame:02x?}");
            };
            assert_eq!(seen.payload, payload);
            assert_eq!(seen.destination.port(), 53);
        }
    }

    #[test]
    fn ignores_padding_of_short_frames() {
        let mut frame = datagram(b"short");
        frame.resize(60, 0xEE);
        let Some(Content::Udp(seen)) = look(&frame).map(|seen| seen.content) else {
            panic!("no datagram");
        };
        assert_eq!(seen.payload, b"short");
    }

    #[test]
    fn every_flipped_bit_behind_the_ethernet_header_is_noticed() {
        let frame = datagram(b"payload");
        for bit in ETHERNET_HEADER_BYTES * 8..frame.len() * 8 {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(look(&flipped).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn an_unreachable_quotes_the_datagram() {
        let frame = datagram(b"payload");
        let Some(Content::Udp(seen)) = look(&frame).map(|seen| seen.content) else {
            panic!("no datagram");
        };
        let answer = unreachable(
            MACS,
            Ipv4Addr::new(10, 0, 2, 2),
            &seen.quote,
            Icmpv4DstUnreachable::PortUnreachable,
        );
        assert!(matches!(
            look(&answer).map(|seen| seen.content),
            Some(Content::Icmp { .. })
        ));
        // Type 3, code 3; the quoted datagram ends the frame.
        assert_eq!(&answer[34..36], &[3, 3]);
        assert_eq!(&answer[62..], &frame[34..]);
    }
}
