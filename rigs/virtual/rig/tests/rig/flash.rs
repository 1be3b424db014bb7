//! Flashing with the real flash algorithm, which runs on the simulated chip.

use probe_rs::flashing::DownloadOptions;
use virtual_rig::{RigEventKind, VirtualRigSettings};

use crate::support::*;

#[test]
fn what_is_flashed_is_verified_and_kept_in_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("flash.bin");
    let settings = VirtualRigSettings {
        flash_file: Some(file.clone()),
        ..settings()
    };
    let data: Vec<u8> = (0..100_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let address = 0x2_0000;
    {
        let rig = start(settings.clone());
        let _fast = rig.clock().flat_out();
        let mut session = attach(&rig);
        let mut loader = session.target().flash_loader();
        loader.add_data(address, &data).unwrap();
        let mut options = DownloadOptions::default();
        options.verify = true;
        loader.commit(&mut session, options).unwrap();
        assert!(
            rig.flash_contents()[address as usize..][..data.len()] == data[..],
            "flash differs"
        );
    }
    let kept = std::fs::read(&file).unwrap();
    assert!(
        kept[address as usize..][..data.len()] == data[..],
        "file differs"
    );
    let rig = start(settings);
    assert!(rig.flash_contents() == kept, "the next rig's flash differs");
}

#[test]
fn a_flashed_program_starts_after_a_reset() {
    let rig = rig();
    let (_, reason) = event(&rig, |what| match what {
        RigEventKind::BootFailed { reason } => Some(reason),
        _ => None,
    });
    assert!(!reason.is_empty());
    let flash = image(&[no_watchdog(), SLEEP.to_vec()].concat());
    {
        let _fast = rig.clock().flat_out();
        let mut session = attach(&rig);
        let mut loader = session.target().flash_loader();
        loader.add_data(0, &flash[..0x200]).unwrap();
        loader.add_data(0x8000, &flash[0x8000..0x8020]).unwrap();
        loader
            .add_data(0x1_0000, &flash[0x1_0000..0x1_0200])
            .unwrap();
        loader
            .commit(&mut session, DownloadOptions::default())
            .unwrap();
        session.core(0).unwrap().reset().unwrap();
    }
    let (_, entry) = event(&rig, |what| match what {
        RigEventKind::Booted { entry, .. } => Some(entry),
        _ => None,
    });
    assert_eq!(entry, CODE);
}

#[test]
fn a_flash_file_of_the_wrong_size_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("flash.bin");
    std::fs::write(&file, b"short").unwrap();
    let settings = VirtualRigSettings {
        flash_file: Some(file.clone()),
        ..settings()
    };
    let error = virtual_rig::VirtualRig::start(settings)
        .unwrap_err()
        .to_string();
    assert!(error.contains(&format!("`{}`", file.display())), "{error}");
}
