//! The HTTP interface's server: port 80, two clients at once, one request a connection.
//!
//! What a client may cost is fixed: memory is static, a request has to be there within seconds, an
//! answer to be taken within seconds. How requests are read is in `firmware-http`, what is answered
//! in [`api`].

mod api;

use core::fmt;

use embassy_executor::Spawner;
use embassy_net::{Stack, tcp::TcpSocket};
use embassy_time::{Duration, Instant, Timer, with_deadline, with_timeout};
use firmware_http::{
    CONTINUE, Progress, REQUEST_BYTES_MAX, RESPONSE_HEAD_BYTES_MAX, Status, write_error, write_head,
};

use crate::{
    desk::Desk,
    stack,
    status::{HTTP_BUFFER_USED_MAX, HTTP_REQUESTS},
};

const PORT: u16 = 80;
/// Clients that are served at once. Another one is refused until one of them is done.
pub const CLIENTS: usize = 2;
/// From the connection to the end of the request.
const REQUEST_MAX: Duration = Duration::from_secs(5);
/// How long the client may take to take the answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long what the client still sends is read, so that it reads the answer before the connection
/// is reset.
const LINGER_MAX: Duration = Duration::from_secs(1);
/// The longest body of an answer: a configuration whose texts are all full and all quotes.
const ANSWER_BYTES_MAX: usize = 1_536;

const TCP_RX_BYTES: usize = 1_024;
const TCP_TX_BYTES: usize = 1_024;

/// Starts the server. Call once.
pub fn start(spawner: Spawner, stack: Stack<'static>, desk: &'static Desk) {
    for _ in 0..CLIENTS {
        // Spawned here only, as often as the pool is large.
        spawner.spawn(serve(stack, desk).expect("a place in the pool"));
    }
}

#[embassy_executor::task(pool_size = CLIENTS)]
async fn serve(stack: Stack<'static>, desk: &'static Desk) -> ! {
    let (mut rx, mut tx) = ([0; TCP_RX_BYTES], [0; TCP_TX_BYTES]);
    let mut buffers = Buffers::new();
    loop {
        let mut socket = TcpSocket::new(stack, &mut rx, &mut tx);
        if socket.accept(PORT).await.is_err() {
            // Not while the port is none of another service; in no case without a pause.
            Timer::after_secs(1).await;
            continue;
        }
        socket.set_nagle_enabled(false);
        let talk = talk(&mut socket, &mut buffers, desk);
        // A client that is gone, or takes nothing, is no news.
        match with_timeout(REQUEST_MAX + ANSWER_MAX, talk).await {
            Ok(Ok(read)) => end(&mut socket, read).await,
            _ => reset(&mut socket).await,
        }
    }
}

/// The memory for one client.
struct Buffers {
    request: [u8; REQUEST_BYTES_MAX],
    head: Text<RESPONSE_HEAD_BYTES_MAX>,
    body: Text<ANSWER_BYTES_MAX>,
}

impl Buffers {
    const fn new() -> Self {
        Self {
            request: [0; REQUEST_BYTES_MAX],
            head: Text(heapless::String::new()),
            body: Text(heapless::String::new()),
        }
    }
}

/// Text that is written to; full, it says so.
struct Text<const N: usize>(heapless::String<N>);

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push_str(text).map_err(|_| fmt::Error)
    }
}

/// How much of a request was read before it was answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    Whole,
    /// The client may still be sending.
    Part,
}

/// What is answered, beside the body.
struct Answer {
    status: Status,
    /// What the resource can be asked, when it was asked something else.
    allow: Option<&'static str>,
}

impl From<Status> for Answer {
    fn from(status: Status) -> Self {
        Self {
            status,
            allow: None,
        }
    }
}

/// The client is gone, or takes nothing.
struct Gone;

/// One request and its answer.
async fn talk(
    socket: &mut TcpSocket<'_>,
    buffers: &mut Buffers,
    desk: &Desk,
) -> Result<Read, Gone> {
    let (answer, read) = read_and_answer(socket, buffers, desk).await?;
    if buffers.body.0.is_empty() {
        // Fits.
        let _ = write_error(&mut buffers.body, answer.status);
    }
    buffers.head.0.clear();
    let body = buffers.body.0.as_bytes();
    // Fits, see `firmware_http::RESPONSE_HEAD_BYTES_MAX`.
    let _ = write_head(&mut buffers.head, answer.status, body.len(), answer.allow);
    HTTP_REQUESTS.increment();
    send(socket, buffers.head.0.as_bytes()).await?;
    send(socket, body).await?;
    Ok(read)
}

/// Reads a request, and writes the answer's body; left empty where the status says it all.
async fn read_and_answer(
    socket: &mut TcpSocket<'_>,
    buffers: &mut Buffers,
    desk: &Desk,
) -> Result<(Answer, Read), Gone> {
    let deadline = Instant::now() + REQUEST_MAX;
    let mut length = 0;
    buffers.body.0.clear();
    loop {
        match firmware_http::read(&buffers.request[..length]) {
            Ok(Progress::Whole(request)) => {
                let answer = api::answer(&request, desk, &mut buffers.body).await;
                HTTP_BUFFER_USED_MAX.raise_to(length.max(buffers.body.0.len()));
                return Ok((answer, Read::Whole));
            }
            Err(status) => return Ok((status.into(), Read::Part)),
            Ok(Progress::More { asks_to_continue }) => {
                if asks_to_continue {
                    send(socket, CONTINUE).await?;
                }
            }
        }
        // There is room: a request is whole, or refused, before the buffer is full.
        let room = &mut buffers.request[length..];
        match with_deadline(deadline, socket.read(room)).await {
            Ok(Ok(0) | Err(_)) => return Err(Gone),
            Ok(Ok(read)) => length += read,
            // A client that has said nothing is told nothing.
            Err(_) if length == 0 => return Err(Gone),
            Err(_) => return Ok((Status::RequestTimeout.into(), Read::Part)),
        }
        stack::arm_guard();
    }
}

async fn send(socket: &mut TcpSocket<'_>, mut bytes: &[u8]) -> Result<(), Gone> {
    while !bytes.is_empty() {
        let sent = with_timeout(ANSWER_MAX, socket.write(bytes)).await;
        match sent {
            Ok(Ok(count)) => bytes = &bytes[count..],
            _ => return Err(Gone),
        }
    }
    Ok(())
}

/// Ends the connection so that the client has the answer.
async fn end(socket: &mut TcpSocket<'_>, read: Read) {
    socket.close();
    // Until the client has acknowledged all of it, and the end.
    let flushed = with_timeout(LINGER_MAX, socket.flush()).await;
    if read == Read::Whole && matches!(flushed, Ok(Ok(()))) {
        return;
    }
    // What the client still sends is read and forgotten: unread, it would bring a reset that can
    // overtake the answer.
    let rest = async {
        let mut unwanted = [0; 64];
        while socket
            .read(&mut unwanted)
            .await
            .is_ok_and(|count| count > 0)
        {}
    };
    let _ = with_timeout(LINGER_MAX, rest).await;
    reset(socket).await;
}

/// Lets go of the client at once; what it was not sent is lost.
async fn reset(socket: &mut TcpSocket<'_>) {
    socket.abort();
    // The reset is sent before the socket is gone.
    let _ = with_timeout(LINGER_MAX, socket.flush()).await;
}
