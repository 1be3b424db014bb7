//! What scenarios need of a broker, asked of the embedded one. A broker put in its place must pass this too.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use hil_mqtt::{
    Broker, BrokerError, Client, ConnectOptions, EmbeddedSettings, Ledger, Message, Qos,
    Subscription, Will,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

/// Bounds a wait in wall time, so that a broken broker fails a test instead of hanging it.
async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what)
        .await
        .expect("within 20 s")
}

async fn broker() -> Broker {
    Broker::embedded(EmbeddedSettings::default()).await.unwrap()
}

async fn client(broker: &Broker, id: &str) -> Client {
    within(Client::connect(ConnectOptions::to(broker, id)))
        .await
        .unwrap()
}

async fn next(subscription: &mut Subscription) -> Message {
    within(subscription.recv()).await.expect("a message")
}

/// Everything that has come before a message `client` publishes now to `topic`, as text.
async fn until_marker(
    client: &Client,
    subscription: &mut Subscription,
    topic: &str,
) -> Vec<String> {
    client
        .publish(topic, "marker", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    let mut before = Vec::new();
    loop {
        let message = next(subscription).await;
        if message.text() == "marker" {
            return before;
        }
        before.push(message.text().into_owned());
    }
}

#[tokio::test]
async fn every_quality_of_service_delivers_once_and_in_order() {
    let broker = broker().await;
    let client = client(&broker, "bench").await;
    for qos in QOS {
        let topic = format!("a/{}", qos.level());
        let mut subscription = client.subscribe(&topic, Qos::ExactlyOnce).await.unwrap();
        let mut ledger = Ledger::new();
        for number in 1..=200_u64 {
            client
                .publish(&topic, number.to_string(), qos, false)
                .await
                .unwrap();
        }
        for _ in 1..=200 {
            let message = next(&mut subscription).await;
            assert_eq!(message.qos, qos);
            assert!(!message.retain && !message.dup);
            ledger.enter(message.text().parse().unwrap());
        }
        let tally = ledger.tally(1, 200);
        assert_eq!((tally.lost, tally.duplicated, tally.reordered), (0, 0, 0));
        assert_eq!(
            until_marker(&client, &mut subscription, &topic).await,
            [""; 0]
        );
    }
}

#[tokio::test]
async fn many_at_once_are_all_acknowledged_and_all_delivered() {
    let broker = broker().await;
    let receiver = client(&broker, "receiver").await;
    let mut subscription = receiver.subscribe("load", Qos::AtLeastOnce).await.unwrap();
    let sender = std::sync::Arc::new(client(&broker, "sender").await);
    let mut sending = tokio::task::JoinSet::new();
    for number in 1..=3_000_u64 {
        let sender = std::sync::Arc::clone(&sender);
        sending.spawn(async move {
            let payload = number.to_string();
            sender
                .publish("load", payload, Qos::AtLeastOnce, false)
                .await
        });
    }
    while let Some(result) = within(sending.join_next()).await {
        result.unwrap().unwrap();
    }
    let mut ledger = Ledger::new();
    for _ in 1..=3_000 {
        ledger.enter(next(&mut subscription).await.text().parse().unwrap());
    }
    let tally = ledger.tally(1, 3_000);
    assert_eq!((tally.lost, tally.duplicated), (0, 0));
    assert_eq!(subscription.overflowed(), 0);
}

#[tokio::test]
async fn the_lower_quality_of_service_wins() {
    let broker = broker().await;
    let client = client(&broker, "bench").await;
    for published in QOS {
        for subscribed in QOS {
            let topic = format!("q/{}/{}", published.level(), subscribed.level());
            let mut subscription = client.subscribe(&topic, subscribed).await.unwrap();
            client.publish(&topic, "x", published, false).await.unwrap();
            assert_eq!(next(&mut subscription).await.qos, published.min(subscribed));
        }
    }
}

#[tokio::test]
async fn retained_messages_wait_for_subscribers_until_an_empty_one_clears_them() {
    let broker = broker().await;
    let device = client(&broker, "device").await;
    for text in ["old", "online"] {
        device
            .publish("state/connection", text, Qos::AtLeastOnce, true)
            .await
            .unwrap();
    }
    let bench = client(&broker, "bench").await;
    let mut first = bench.subscribe("state/+", Qos::AtLeastOnce).await.unwrap();
    let message = next(&mut first).await;
    assert_eq!((message.text().as_ref(), message.retain), ("online", true));

    // A live one comes without the flag.
    device
        .publish("state/connection", "busy", Qos::AtLeastOnce, true)
        .await
        .unwrap();
    let message = next(&mut first).await;
    assert_eq!((message.text().as_ref(), message.retain), ("busy", false));
    // A second subscription gets it, the first one not again.
    let mut second = bench.subscribe("state/#", Qos::AtLeastOnce).await.unwrap();
    assert_eq!(next(&mut second).await.text(), "busy");
    assert_eq!(until_marker(&bench, &mut first, "state/x").await, [""; 0]);

    device
        .publish("state/connection", "", Qos::AtLeastOnce, true)
        .await
        .unwrap();
    let late = client(&broker, "late").await;
    let mut subscription = late.subscribe("state/#", Qos::AtLeastOnce).await.unwrap();
    assert_eq!(
        until_marker(&late, &mut subscription, "state/x").await,
        [""; 0]
    );
}

fn with_will(broker: &Broker, id: &str) -> ConnectOptions {
    ConnectOptions {
        will: Some(Will {
            topic: "state/connection".into(),
            payload: "offline".into(),
            qos: Qos::AtLeastOnce,
            retain: true,
        }),
        ..ConnectOptions::to(broker, id)
    }
}

#[tokio::test]
async fn a_will_is_sent_after_an_abrupt_end_alone() {
    let broker = broker().await;
    let bench = client(&broker, "bench").await;
    let mut state = bench
        .subscribe("state/connection", Qos::AtLeastOnce)
        .await
        .unwrap();

    let polite = Client::connect(with_will(&broker, "polite")).await.unwrap();
    within(polite.disconnect()).await.unwrap();
    let before = until_marker(&bench, &mut state, "state/connection").await;
    assert_eq!(before, [""; 0], "no will after DISCONNECT");

    let abrupt = Client::connect(with_will(&broker, "abrupt")).await.unwrap();
    drop(abrupt);
    assert_eq!(next(&mut state).await.text(), "offline");
    let late = client(&broker, "late").await;
    let mut kept = late
        .subscribe("state/connection", Qos::AtLeastOnce)
        .await
        .unwrap();
    let message = next(&mut kept).await;
    assert_eq!((message.text().as_ref(), message.retain), ("offline", true));
}

#[tokio::test]
async fn a_silent_client_is_thrown_out_and_its_will_sent() {
    let broker = broker().await;
    let bench = client(&broker, "bench").await;
    let mut wills = bench.subscribe("will", Qos::AtMostOnce).await.unwrap();
    let mut silent = TcpStream::connect((broker.host(), broker.port()))
        .await
        .unwrap();
    // CONNECT by hand: clean session, will `gone` to `will`, keep-alive 1 s, client `mute`.
    silent
        .write_all(b"\x10\x1c\x00\x04MQTT\x04\x06\x00\x01\x00\x04mute\x00\x04will\x00\x04gone")
        .await
        .unwrap();
    let mut answer = [0; 4];
    within(silent.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, [0x20, 2, 0, 0]);
    // One and a half times the keep-alive (section 3.1.2.10).
    assert_eq!(next(&mut wills).await.text(), "gone");
    assert_eq!(within(silent.read(&mut answer)).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn wildcards_and_overlapping_filters() {
    let broker = broker().await;
    let client = client(&broker, "bench").await;
    let mut one_level = client.subscribe("p/+/t", Qos::AtLeastOnce).await.unwrap();
    let mut all = client.subscribe("p/#", Qos::AtLeastOnce).await.unwrap();
    for topic in ["p/1/t", "p/2/t", "p/2/s", "p", "q/1/t"] {
        client
            .publish(topic, topic, Qos::AtLeastOnce, false)
            .await
            .unwrap();
    }
    let seen = until_marker(&client, &mut all, "p/1/t").await;
    assert_eq!(seen, ["p/1/t", "p/2/t", "p/2/s", "p"]);
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(next(&mut one_level).await.text().into_owned());
    }
    assert_eq!(seen, ["p/1/t", "p/2/t", "marker"]);
    assert_eq!(
        until_marker(&client, &mut one_level, "p/1/t").await,
        [""; 0]
    );
}

#[tokio::test]
async fn a_second_client_of_the_same_name_throws_the_first_out() {
    let broker = broker().await;
    let first = client(&broker, "twin").await;
    let mut subscription = first.subscribe("x", Qos::AtLeastOnce).await.unwrap();
    let second = client(&broker, "twin").await;
    assert_eq!(within(subscription.recv()).await, None);
    assert!(!first.is_connected());
    second
        .publish("x", "still here", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    let said = first.publish("x", "me too", Qos::AtLeastOnce, false).await;
    let said = said.unwrap_err().to_string();
    assert!(
        said.starts_with("client `twin` is not connected any more: "),
        "{said}"
    );
}

#[tokio::test]
async fn a_persistent_session_gets_what_came_while_it_was_away() {
    let broker = broker().await;
    let persistent = || ConnectOptions {
        clean_session: false,
        ..ConnectOptions::to(&broker, "device")
    };
    let device = Client::connect(persistent()).await.unwrap();
    let subscription = device
        .subscribe("command/#", Qos::AtLeastOnce)
        .await
        .unwrap();
    within(device.disconnect()).await.unwrap();
    drop(subscription);

    let bench = client(&broker, "bench").await;
    for number in 1..=50 {
        let topic = format!("command/{number}");
        bench
            .publish(&topic, number.to_string(), Qos::AtLeastOnce, false)
            .await
            .unwrap();
    }
    // The messages come before this client can subscribe anew: the observer sees them.
    let (seen, mut sees) = tokio::sync::mpsc::unbounded_channel();
    let device = Client::connect(ConnectOptions {
        observer: Some(std::sync::Arc::new(move |observed| match observed {
            hil_mqtt::Observed::Connected {
                session_present, ..
            } => {
                let _ = seen.send(session_present.to_string());
            }
            hil_mqtt::Observed::Received { message, .. } => {
                let _ = seen.send(message.text().into_owned());
            }
            _ => {}
        })),
        ..persistent()
    })
    .await
    .unwrap();
    assert_eq!(
        within(sees.recv()).await.unwrap(),
        "true",
        "session present"
    );
    for number in 1..=50 {
        assert_eq!(within(sees.recv()).await.unwrap(), number.to_string());
    }
    assert_eq!(device.received(), 50);
}

#[tokio::test]
async fn large_messages_pass_and_too_large_ones_end_their_sender_alone() {
    let broker = broker().await;
    let bench = client(&broker, "bench").await;
    let mut subscription = bench.subscribe("big", Qos::AtLeastOnce).await.unwrap();
    for length in [0, 127, 128, 4_738, 16 * 1024, 60_000] {
        let payload: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
        bench
            .publish("big", payload.clone(), Qos::AtLeastOnce, false)
            .await
            .unwrap();
        assert_eq!(next(&mut subscription).await.payload, payload);
    }
    let glutton = client(&broker, "glutton").await;
    let result = within(glutton.publish("big", vec![0; 70_000], Qos::AtLeastOnce, false)).await;
    assert!(result.is_err(), "{result:?}");
    bench
        .publish("big", "fine", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    assert_eq!(next(&mut subscription).await.text(), "fine");
}

#[tokio::test]
async fn what_is_no_mqtt_ends_its_own_connection_alone() {
    let broker = broker().await;
    let garbage: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x10\xff\xff\xff\xff\xff",
        b"\x10\x0c\x00\x04MQTT\x09\x02\x00\x3c\x00\x00",
        b"\x30\x05\x00\x03a/b",
        &[0; 300],
    ];
    for bytes in garbage {
        let mut stream = TcpStream::connect((broker.host(), broker.port()))
            .await
            .unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let _ = within(stream.read_to_end(&mut rest)).await;
    }
    let bench = client(&broker, "bench").await;
    bench
        .publish("a", "alive", Qos::AtLeastOnce, false)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_taken_port_is_said_in_words() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = other.local_addr().unwrap();
    let error = Broker::embedded(EmbeddedSettings {
        bind,
        ..EmbeddedSettings::default()
    })
    .await
    .unwrap_err();
    assert!(matches!(error, BrokerError::PortTaken { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!(
            "port {} of 127.0.0.1 is taken; end the program that listens there, or choose port 0 for a free one",
            bind.port()
        )
    );
}

#[tokio::test]
async fn a_stopped_or_dropped_broker_lets_go_of_its_port_and_its_clients() {
    let mut bind: SocketAddr = "127.0.0.1:0".parse().unwrap();
    for polite in [true, false, true] {
        let settings = EmbeddedSettings {
            bind,
            ..EmbeddedSettings::default()
        };
        let broker = Broker::embedded(settings).await.unwrap();
        assert!(bind.port() == 0 || bind.port() == broker.port());
        bind.set_port(broker.port());
        let client = client(&broker, "bench").await;
        let mut subscription = client.subscribe("#", Qos::AtMostOnce).await.unwrap();
        if polite {
            within(broker.stop()).await.unwrap();
        } else {
            drop(broker);
            // The listener closes with the broker's task, which ends at its next turn.
            while TcpStream::connect(bind).await.is_ok() {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(within(subscription.recv()).await, None);
    }
}

#[tokio::test]
async fn sys_topics_are_there_when_asked_for() {
    let broker = Broker::embedded(EmbeddedSettings {
        sys_topics: true,
        ..EmbeddedSettings::default()
    })
    .await
    .unwrap();
    let bench = client(&broker, "bench").await;
    let mut figures = bench.subscribe("$SYS/#", Qos::AtMostOnce).await.unwrap();
    assert!(next(&mut figures).await.topic.starts_with("$SYS/"));
}
