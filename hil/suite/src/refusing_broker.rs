//! A broker that answers each CONNECT with a refusal and knows nothing else.
//!
//! Real brokers refuse for reasons that take accounts and lists to set up; what the device does
//! about a refusal can be seen with five bytes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The broker; dropping it closes the port.
#[derive(Debug)]
pub(crate) struct RefusingBroker {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl RefusingBroker {
    /// Listens on a free port of `listen` and refuses with `code` (MQTT 3.1.1, table 3.1).
    pub(crate) async fn start(listen: Ipv4Addr, code: u8) -> io::Result<Self> {
        let listener = TcpListener::bind((listen, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut connect = [0; 1_024];
                // Any bytes are its CONNECT; what becomes of the socket is the device's affair.
                if matches!(socket.read(&mut connect).await, Ok(1..)) {
                    let _ = socket.write_all(&[0x20, 2, 0, code]).await;
                }
            }
        });
        Ok(Self { address, task })
    }

    /// TCP port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for RefusingBroker {
    fn drop(&mut self) {
        self.task.abort();
    }
}
