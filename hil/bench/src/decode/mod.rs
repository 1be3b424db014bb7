//! Bytes of the RTT channels to log lines and frames; what is cut or garbled is counted.

mod frames;
mod log;

pub(crate) use frames::{FrameStream, Received};
pub(crate) use log::{LogStream, Logged};
