//! The firmware's own on-target tests, through the engine of `hil runner`.

use hil_bench::{
    Bench, FirmwareImage, OpenOptions,
    ontarget::{Outcome, Program, RunOptions, TestEvent, TestResult, inspect, run},
};

use crate::scene::{failing_test_program, rig_with, test_program};

/// Flashes `image` and runs its tests; the results, and what was told meanwhile.
async fn results(name: &str, image: &FirmwareImage) -> (Vec<TestResult>, Vec<TestEvent>) {
    let project = tempfile::tempdir().expect("a directory");
    let rig = rig_with(
        name,
        "[fixture]\nkind = \"virtual\"\nsensors = 3\none-wire-pin = 10\nrelay-pins = []\n",
    );
    let bench = Bench::open(&rig, OpenOptions::new(project.path(), "test")).await;
    let bench = bench.expect("opens");
    bench.flash(image).await.expect("flashes");
    let program = inspect(image).expect("readable");
    let (mut told, options) = (vec![], RunOptions::default());
    let results = run(
        &bench,
        image,
        &program,
        |_| true,
        &options,
        |event| {
            told.push(event);
        },
    );
    let results = results.await.expect("runs");
    bench.close().await;
    (results, told)
}

#[track_caller]
fn check_all_passed(results: &[TestResult], told: &[TestEvent]) {
    let failed: Vec<_> = results
        .iter()
        .filter(|result| result.outcome.is_failure())
        .collect();
    assert!(failed.is_empty(), "{failed:#?}\n{told:#?}");
    assert!(
        results
            .iter()
            .any(|result| result.outcome == Outcome::Passed)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded_tests_run_one_reset_each() {
    let image = test_program("device");
    let Ok(Program::EmbeddedTest(tests)) = inspect(&image) else {
        panic!("{:?}", inspect(&image));
    };
    let (results, told) = results("embedded", &image).await;
    let names = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        names(results.iter().map(|result| result.name.as_str()).collect()),
        names(tests.iter().map(|test| test.name.as_str()).collect())
    );
    check_all_passed(&results, &told);
    assert!(told.iter().any(|event| matches!(event, TestEvent::Log(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn defmt_tests_run_in_one_boot() {
    let image = test_program("wire");
    let Ok(Program::DefmtTest { count }) = inspect(&image) else {
        panic!("{:?}", inspect(&image));
    };
    let (results, told) = results("defmt", &image).await;
    check_all_passed(&results, &told);
    assert_eq!(results.len(), count as usize, "{results:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_fail_is_told_and_the_next_test_runs() {
    let (results, _) = results("endings", &failing_test_program()).await;
    let ended = |name: &str| {
        let result = results.iter().find(|result| result.name.ends_with(name));
        let result = result.unwrap_or_else(|| panic!("no `{name}` in {results:#?}"));
        format!("{:?}", result.outcome)
    };
    for (name, expected) in [
        ("::passes", "Passed"),
        ("::fails", "it panicked or aborted"),
        ("::hangs", "it did not end within 2.0 s"),
        ("::panics_as_it_should", "Passed"),
        (
            "::should_panic_and_does_not",
            "it should have panicked and did not",
        ),
        ("::takes_an_exception", "it panicked or aborted"),
    ] {
        assert!(ended(name).contains(expected), "{name}: {}", ended(name));
    }
}
