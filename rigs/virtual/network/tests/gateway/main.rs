//! The gateway seen from both ends: a device made of smoltcp on the cable, and ordinary programs (threads
//! with std sockets) on this machine.

mod device;
mod faults;
mod malformed;
mod services;
mod tcp;
mod udp;
