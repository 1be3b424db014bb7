//! Finding and opening probes.

use probe_rs::probe::list::Lister;
use probe_rs::probe::{DebugProbeSelector, ProbeFactory};
use probe_rs::{MemoryInterface, RegisterId};
use virtual_rig::{VirtualProbeFactory, VirtualRig, VirtualRigError};

use crate::support::*;

/// What opening says, with all its causes. Through the factory: probe-rs's lister says the same with more around it.
fn refusal(selector: &str) -> String {
    let selector: DebugProbeSelector = selector.parse().unwrap();
    let error = VirtualProbeFactory.open(&selector).map(drop).unwrap_err();
    let mut text = error.to_string();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[test]
fn rigs_are_listed_with_their_serial_numbers() {
    let (first, second) = (rig(), rig());
    let listed: Vec<String> = Lister::new()
        .list_all()
        .iter()
        .map(|probe| probe.to_string())
        .collect();
    for rig in [&first, &second] {
        let line = format!("Virtual ESP32-C3 -- {} (virtual rig)", rig.selector());
        assert!(listed.contains(&line), "{line} not in {listed:?}");
    }
}

#[test]
fn two_rigs_work_side_by_side() {
    let rigs = [rig(), rig()];
    let mut sessions: Vec<_> = rigs.iter().map(attach).collect();
    for (number, session) in sessions.iter_mut().enumerate() {
        let mut core = session.core(0).unwrap();
        load(&mut core, &COUNT);
        core.write_word_32(u64::from(DATA) + 64, number as u32)
            .unwrap();
        core.write_core_reg(RegisterId(0x100C), 100 * number as u32)
            .unwrap();
    }
    for (number, session) in sessions.iter_mut().enumerate() {
        let mut core = session.core(0).unwrap();
        assert_eq!(
            core.read_word_32(u64::from(DATA) + 64).unwrap(),
            number as u32
        );
        assert_eq!(
            core.read_core_reg::<u32>(RegisterId(0x100C)).unwrap(),
            100 * number as u32
        );
    }
}

#[test]
fn an_unknown_serial_number_is_refused_in_words() {
    let rig = rig();
    let text = refusal("f055:00c3:nobody");
    let serial = rig.selector().rsplit(':').next().unwrap().to_owned();
    assert!(
        text.contains("no virtual rig with serial `nobody` is running"),
        "{text}"
    );
    assert!(text.contains(&format!("`{serial}`")), "{text}");
}

#[test]
fn two_that_match_are_refused_in_words() {
    let _rigs = [rig(), rig()];
    let text = refusal("f055:00c3");
    assert!(
        text.contains("several virtual rigs are running; name one: `"),
        "{text}"
    );
}

#[test]
fn other_probes_are_left_alone() {
    let text = refusal("1366:0101:1");
    assert!(!text.contains("virtual"), "{text}");
}

#[test]
fn a_probe_in_use_is_refused_until_it_is_closed() {
    let rig = rig();
    let probe = open(&rig.selector());
    let text = refusal(&rig.selector());
    assert!(
        text.contains("is in use by another probe session"),
        "{text}"
    );
    drop(probe);
    drop(open(&rig.selector()));
}

#[test]
fn serial_numbers_are_taken_once() {
    let settings = settings();
    let first = start(settings.clone());
    let error = VirtualRig::start(settings.clone()).unwrap_err();
    assert!(matches!(error, VirtualRigError::SerialTaken(serial) if serial == settings.serial));
    drop(first);
    drop(start(settings));
}

#[test]
fn a_session_outlives_its_rig_with_errors_only() {
    let rig = rig();
    let mut session = attach(&rig);
    let selector = rig.selector();
    drop(rig);
    let mut core = session.core(0);
    let refused = match &mut core {
        Ok(core) => core.read_word_32(DATA.into()).is_err(),
        Err(_) => true,
    };
    assert!(refused, "memory of a stopped rig was read");
    drop(core);
    drop(session);
    assert!(refusal(&selector).contains("is running"));
}
