//! `hil run` with nothing changed: how long it takes, what memory, and how long a command takes to the device and
//! back. Beside what can't be had for less in the same minute: cargo finding nothing to build, a raw TCP echo.
//!
//! `cargo bench --workspace --profile dev --bench run`: the build that `cargo hil run` uses.

#[path = "../tests/support/own_rig.rs"]
mod own_rig;
#[path = "../tests/support/project.rs"]
mod project;

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use own_rig::OwnRig;
use project::project;
use serde_json::Value;

const RUNS: usize = 5;
const ECHOES: usize = 1_000;

fn main() {
    let rig = OwnRig::new("bench-run", &[]);
    // Builds and flashes.
    run(&rig);
    println!("flash: {}", flash(&rig));
    let mut walls = Vec::new();
    let mut memory_kib = 0;
    for _ in 0..RUNS {
        let (wall, peak_kib) = run(&rig);
        walls.push(wall);
        memory_kib = memory_kib.max(peak_kib);
    }
    let cargo = (0..RUNS).map(|_| nothing_to_build()).collect();
    println!("flash: {}", flash(&rig));
    let (wall, cargo) = (median(walls), median(cargo));
    println!(
        "hil run, nothing changed: {:.2} s, {} MiB at most; cargo with nothing to build: {:.2} s; {:.1} times",
        wall.as_secs_f64(),
        memory_kib / 1024,
        cargo.as_secs_f64(),
        wall.as_secs_f64() / cargo.as_secs_f64()
    );

    let events = fs::read_to_string(rig.report("events.ndjson")).expect("a recording");
    let trips = round_trips(&events);
    let count = trips.len();
    let p95 = percentile(trips.clone(), 95);
    let (trip, echo) = (median(trips), median(echoes()));
    println!(
        "a command and its answer, {count} of them: {:.2} ms, p95 {:.2} ms; a raw TCP echo: {:.3} ms; {:.0} times",
        milliseconds(trip),
        milliseconds(p95),
        milliseconds(echo),
        milliseconds(trip) / milliseconds(echo)
    );
    let _ = fs::remove_dir_all(project().join("target/hil/rigs/bench-run"));
}

/// One run: wall time, and the most memory it had, KiB (0 where that can't be seen).
fn run(rig: &OwnRig) -> (Duration, u64) {
    let started = Instant::now();
    let mut child = rig
        .hil(&["run"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    let ended = loop {
        if let Some(ended) = child.try_wait().expect("its end") {
            break ended;
        }
        // The kernel keeps the high-water mark: the last look before the end sees it (proc(5), VmHWM).
        let text = fs::read_to_string(&status).unwrap_or_default();
        peak_kib = peak_kib.max(high_water_kib(&text).unwrap_or(0));
        thread::sleep(Duration::from_millis(5));
    };
    assert!(ended.success(), "a run failed: {ended}");
    (started.elapsed(), peak_kib)
}

fn high_water_kib(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Cargo's own look at host and firmware: no run can be faster.
fn nothing_to_build() -> Duration {
    let started = Instant::now();
    for (directory, arguments) in [
        (project(), &["build", "-p", "hil-cli", "--quiet"][..]),
        (
            project().join("firmware/app"),
            &[
                "build",
                "--release",
                "--quiet",
                "--target-dir",
                "../../target/firmware",
            ][..],
        ),
    ] {
        let mut cargo = Command::new("cargo");
        // Those that this program inherited are for another build.
        for (name, _) in std::env::vars()
            .filter(|(name, _)| name.starts_with("CARGO") || name == "RUSTUP_TOOLCHAIN")
        {
            if name != "CARGO_HOME" {
                cargo.env_remove(name);
            }
        }
        let status = cargo.args(arguments).current_dir(directory).status();
        assert!(status.is_ok_and(|status| status.success()), "cargo failed");
    }
    started.elapsed()
}

/// What the latest run says of its flashing.
fn flash(rig: &OwnRig) -> String {
    let events = fs::read_to_string(rig.report("events.ndjson")).expect("a recording");
    let finished = events
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|event| event["kind"] == "step-finished" && event["step"] == "flash");
    let finished = finished.expect("it was flashed, or compared");
    finished["result"].as_str().expect("in words").to_owned()
}

/// From each request that left the host's client to the response that arrived there.
fn round_trips(events: &str) -> Vec<Duration> {
    let mut asked = HashMap::new();
    let mut trips = Vec::new();
    for event in events
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
    {
        let (Some(topic), Some(payload), Some(wall_us)) = (
            event["topic"].as_str(),
            event["payload"].as_str(),
            event["wall_us"].as_u64(),
        ) else {
            continue;
        };
        let Ok(message) = serde_json::from_str::<Value>(payload) else {
            continue;
        };
        let Some(id) = message["cmd_id"].as_str() else {
            continue;
        };
        if topic.ends_with("command/request") {
            asked.insert(id.to_owned(), wall_us);
        } else if let Some(since) = asked.remove(id) {
            trips.push(Duration::from_micros(wall_us.saturating_sub(since)));
        }
    }
    assert!(trips.len() > 100, "only {} commands", trips.len());
    trips
}

fn echoes() -> Vec<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let mut buffer = [0; 512];
        while stream.read_exact(&mut buffer).is_ok() && stream.write_all(&buffer).is_ok() {}
    });
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_nodelay(true).expect("no delay");
    let mut buffer = [0; 512];
    let times = (0..ECHOES)
        .map(|_| {
            let started = Instant::now();
            stream.write_all(&buffer).expect("sent");
            stream.read_exact(&mut buffer).expect("echoed");
            started.elapsed()
        })
        .collect();
    drop(stream);
    server.join().expect("the server ends");
    times
}

fn median(times: Vec<Duration>) -> Duration {
    percentile(times, 50)
}

fn percentile(mut times: Vec<Duration>, percent: usize) -> Duration {
    times.sort();
    times[(times.len() - 1) * percent / 100]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
