//! Round trip through the embedded broker beside a raw TCP echo, with a payload the size of a full
//! telemetry message. Shows what broker and client add to what the machine costs anyway.

use criterion::{Criterion, Throughput};
use hil_mqtt::{Broker, Client, ConnectOptions, EmbeddedSettings, Qos};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

const PAYLOAD_BYTES: usize = 4_738;

fn round_trip(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = criterion.benchmark_group("round trip of 4,738 bytes");
    group.throughput(Throughput::Bytes(PAYLOAD_BYTES as u64));

    let mut stream = runtime.block_on(echo());
    group.bench_function("raw TCP echo", |bencher| {
        let payload = vec![b'x'; PAYLOAD_BYTES];
        let mut back = vec![0; PAYLOAD_BYTES];
        bencher.iter(|| {
            runtime.block_on(async {
                stream.write_all(&payload).await.expect("sent");
                stream.read_exact(&mut back).await.expect("echoed");
            });
        });
    });

    for (name, qos) in [
        ("broker, QoS 0", Qos::AtMostOnce),
        ("broker, QoS 1", Qos::AtLeastOnce),
    ] {
        let (_broker, client, mut subscription) = runtime.block_on(async {
            let broker = Broker::embedded(EmbeddedSettings::default())
                .await
                .expect("a broker");
            let client = Client::connect(ConnectOptions::to(&broker, "bench"))
                .await
                .expect("connected");
            let subscription = client.subscribe("t", qos).await.expect("subscribed");
            (broker, client, subscription)
        });
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    let payload = vec![b'x'; PAYLOAD_BYTES];
                    client
                        .publish("t", payload, qos, false)
                        .await
                        .expect("sent");
                    subscription.recv().await.expect("received");
                });
            });
        });
    }
    group.finish();
}

/// A connection to an echo server.
async fn echo() -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let mut buffer = vec![0; 65_536];
        while let Ok(count) = stream.read(&mut buffer).await {
            if count == 0 || stream.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
    });
    let stream = TcpStream::connect(address).await.expect("connected");
    stream.set_nodelay(true).expect("no delay");
    stream
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    round_trip(&mut criterion);
    criterion.final_summary();
}
