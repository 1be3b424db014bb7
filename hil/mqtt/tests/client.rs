//! The client beside brokers that behave, refuse, keep silent and go away.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hil_mqtt::{
    Broker, BrokerSettings, Client, ClientError, ConnectOptions, Credentials, EmbeddedSettings,
    Observed, Qos, Reconnect,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what)
        .await
        .expect("within 20 s")
}

async fn broker() -> Broker {
    Broker::start(BrokerSettings::default()).await.unwrap()
}

/// What connecting to a broker says that answers CONNECT with `answer` and hangs up; `ADDRESS` for the address.
async fn check_refusal(answer: &'static [u8], credentials: Option<Credentials>, expected: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut connect = [0; 256];
        let _ = stream.read(&mut connect).await;
        let _ = stream.write_all(answer).await;
    });
    let options = ConnectOptions {
        credentials,
        ..ConnectOptions::new("127.0.0.1", address.port(), "bench")
    };
    let error = within(Client::connect(options)).await.unwrap_err();
    let said = error.to_string().replace(&address.to_string(), "ADDRESS");
    assert_eq!(said, expected);
    serving.await.unwrap();
}

#[tokio::test]
async fn refusals_are_said_in_words() {
    let account = || {
        Some(Credentials {
            username: "bench".into(),
            password: "wrong".into(),
        })
    };
    check_refusal(
        &[0x20, 2, 0, 1],
        None,
        "the broker at `ADDRESS` refused client `bench`: it does not speak MQTT 3.1.1; choose a broker that does",
    )
    .await;
    check_refusal(
        &[0x20, 2, 0, 2],
        None,
        "the broker at `ADDRESS` refused client `bench`: it does not accept this client identifier; choose another one",
    )
    .await;
    check_refusal(
        &[0x20, 2, 0, 4],
        account(),
        "the broker at `ADDRESS` refused client `bench`: the user name or password is wrong; correct the credentials",
    )
    .await;
    check_refusal(
        &[0x20, 2, 0, 5],
        None,
        "the broker at `ADDRESS` refused client `bench`: it wants an account; give a user name and a password",
    )
    .await;
}

#[tokio::test]
async fn other_ways_not_to_be_connected() {
    let unused = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let error = within(Client::connect(ConnectOptions::new(
        "127.0.0.1",
        unused,
        "bench",
    )))
    .await
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("nobody listens at `127.0.0.1:{unused}`; start the broker or correct its address")
    );

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let options = ConnectOptions {
        timeout: Duration::from_millis(100),
        ..ConnectOptions::new("127.0.0.1", port, "bench")
    };
    let error = within(Client::connect(options)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the broker at `127.0.0.1:{port}` has not answered CONNECT within 0.1 s; is it an MQTT broker, and is TLS off?"
        )
    );

    let options = ConnectOptions {
        clean_session: false,
        ..ConnectOptions::new("127.0.0.1", port, "")
    };
    let error = within(Client::connect(options)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "a persistent session needs a client identifier; set `client_id`"
    );
}

#[tokio::test]
async fn unusable_topics_go_nowhere() {
    let broker = broker().await;
    let client = Client::connect(ConnectOptions::to(&broker, "bench"))
        .await
        .unwrap();
    let error = client
        .publish("/plant/line 1", "x", Qos::AtMostOnce, false)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "`/plant/line 1` is not a usable topic: it begins with `/`, it holds a space; write `plant/line_1`"
    );
    assert!(matches!(
        client.subscribe("a/#/b", Qos::AtMostOnce).await,
        Err(ClientError::Topic(_))
    ));
    let error = client
        .publish("big", vec![0; 300_000], Qos::AtMostOnce, false)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "a message of 300000 bytes to `big` is over the limit of 262144 bytes; raise `packet_bytes_max`"
    );
    assert!(client.is_connected());
}

#[tokio::test]
async fn messages_are_numbered_and_stamped_in_their_order() {
    let broker = broker().await;
    let client = Client::connect(ConnectOptions::to(&broker, "bench"))
        .await
        .unwrap();
    let mut all = client.subscribe("#", Qos::AtLeastOnce).await.unwrap();
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.push(
            client
                .publish("t", "x", Qos::AtLeastOnce, false)
                .await
                .unwrap(),
        );
    }
    for (sequence, sent) in (0..).zip(sent) {
        let message = within(all.recv()).await.unwrap();
        assert_eq!(message.sequence, sequence);
        assert!(message.received_at >= sent.sent_at);
        assert!(sent.acknowledged_at >= sent.sent_at);
    }
    assert_eq!(client.received(), 5);
}

#[tokio::test]
async fn a_dropped_subscription_is_unsubscribed() {
    let broker = broker().await;
    let client = Client::connect(ConnectOptions::to(&broker, "bench"))
        .await
        .unwrap();
    let first = client.subscribe("t", Qos::AtLeastOnce).await.unwrap();
    let mut second = client.subscribe("t", Qos::AtLeastOnce).await.unwrap();
    drop(first);
    client
        .publish("t", "for the second", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    assert_eq!(
        within(second.recv()).await.unwrap().text(),
        "for the second"
    );
    drop(second);
    // The broker works off UNSUBSCRIBE before what comes after it.
    let mut other = client.subscribe("other", Qos::AtLeastOnce).await.unwrap();
    for topic in ["t", "other"] {
        client
            .publish(topic, topic, Qos::AtLeastOnce, false)
            .await
            .unwrap();
    }
    assert_eq!(within(other.recv()).await.unwrap().sequence, 1);
}

#[tokio::test]
async fn a_second_subscription_gets_the_retained_message_and_the_first_not_again() {
    let broker = broker().await;
    let client = Client::connect(ConnectOptions::to(&broker, "bench"))
        .await
        .unwrap();
    client
        .publish("t", "kept", Qos::AtLeastOnce, true)
        .await
        .unwrap();
    let mut first = client.subscribe("t", Qos::AtLeastOnce).await.unwrap();
    assert_eq!(within(first.recv()).await.unwrap().text(), "kept");
    let mut second = client.subscribe("t", Qos::AtLeastOnce).await.unwrap();
    assert_eq!(within(second.recv()).await.unwrap().text(), "kept");
    client
        .publish("t", "live", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    for subscription in [&mut first, &mut second] {
        assert_eq!(within(subscription.recv()).await.unwrap().text(), "live");
    }
}

#[tokio::test]
async fn a_subscription_nobody_reads_loses_its_own_messages_and_counts_them() {
    let broker = broker().await;
    let options = ConnectOptions {
        queue_messages: 10,
        ..ConnectOptions::to(&broker, "bench")
    };
    let client = Client::connect(options).await.unwrap();
    let idle = client.subscribe("t", Qos::AtLeastOnce).await.unwrap();
    let mut busy = client.subscribe("t/#", Qos::AtLeastOnce).await.unwrap();
    for number in 0..25 {
        let payload = number.to_string();
        client
            .publish("t", payload.clone(), Qos::AtLeastOnce, false)
            .await
            .unwrap();
        assert_eq!(within(busy.recv()).await.unwrap().text(), payload);
    }
    assert_eq!((idle.overflowed(), busy.overflowed()), (15, 0));
}

#[tokio::test]
async fn the_observer_sees_everything_in_order() {
    let broker = broker().await;
    let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let options = ConnectOptions {
        observer: Some(Arc::new(move |observed: &Observed<'_>| {
            let line = match observed {
                Observed::Connected { client_id, .. } => format!("connected {client_id}"),
                Observed::Disconnected { reason, .. } => format!("disconnected: {reason}"),
                Observed::Sending { topic, qos, .. } => format!("sending {topic} {}", qos.level()),
                Observed::Received { message, .. } => format!("received {}", message.topic),
                other => format!("{other:?}"),
            };
            let _ = sender.send(line);
        })),
        ..ConnectOptions::to(&broker, "bench")
    };
    let client = Client::connect(options).await.unwrap();
    let mut subscription = client.subscribe("t", Qos::AtLeastOnce).await.unwrap();
    client
        .publish("t", "x", Qos::AtLeastOnce, false)
        .await
        .unwrap();
    within(subscription.recv()).await.unwrap();
    within(client.disconnect()).await.unwrap();
    let mut lines = Vec::new();
    while let Ok(line) = seen.try_recv() {
        lines.push(line);
    }
    assert_eq!(
        lines,
        [
            "connected bench",
            "sending t 1",
            "received t",
            "disconnected: it has disconnected as asked"
        ]
    );
}

#[tokio::test]
async fn a_client_whose_broker_went_says_so() {
    let broker = broker().await;
    let client = Client::connect(ConnectOptions::to(&broker, "bench"))
        .await
        .unwrap();
    let mut subscription = client.subscribe("t", Qos::AtLeastOnce).await.unwrap();
    within(broker.stop()).await.unwrap();
    assert_eq!(within(subscription.recv()).await, None);
    assert!(!client.is_connected());
    for qos in [Qos::AtMostOnce, Qos::AtLeastOnce] {
        let result = within(client.publish("t", "x", qos, false)).await;
        assert!(
            matches!(result, Err(ClientError::Disconnected { .. })),
            "{result:?}"
        );
    }
    let result = within(client.subscribe("t", Qos::AtMostOnce)).await;
    assert!(matches!(result, Err(ClientError::Disconnected { .. })));
}

#[tokio::test]
async fn a_reconnecting_client_subscribes_anew() {
    let first = broker().await;
    let bind = format!("127.0.0.1:{}", first.port()).parse().unwrap();
    let (sender, mut connections) = tokio::sync::mpsc::unbounded_channel();
    let options = ConnectOptions {
        reconnect: Reconnect::After(Duration::from_millis(20)),
        observer: Some(Arc::new(move |observed: &Observed<'_>| {
            if let Observed::Connected { .. } = observed {
                let _ = sender.send(());
            }
        })),
        ..ConnectOptions::to(&first, "bench")
    };
    let client = Client::connect(options).await.unwrap();
    let mut subscription = client.subscribe("t", Qos::AtLeastOnce).await.unwrap();
    within(connections.recv()).await.unwrap();
    within(first.stop()).await.unwrap();

    let second = Broker::embedded(EmbeddedSettings {
        bind,
        ..EmbeddedSettings::default()
    })
    .await
    .unwrap();
    within(connections.recv()).await.unwrap();
    let other = Client::connect(ConnectOptions::to(&second, "other"))
        .await
        .unwrap();
    // The new subscription is on its way; retained, the message reaches it whichever comes first.
    other
        .publish("t", "hello again", Qos::AtLeastOnce, true)
        .await
        .unwrap();
    assert_eq!(
        within(subscription.recv()).await.unwrap().text(),
        "hello again"
    );
}
