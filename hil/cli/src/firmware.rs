//! The firmware, built: by cargo, for its own target, into a directory of its own.
//!
//! Cargo decides whether anything must be compiled. What this adds: a missing rustup target is
//! installed, progress is shown, and what an outer cargo left in the environment is kept away,
//! because it was meant for the host.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{ChildStdout, Command};

/// Variables of cargo that hold for every build, whoever started it.
const KEPT: [&str; 6] = [
    "CARGO_HOME",
    "CARGO_NET_",
    "CARGO_HTTP_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_TERM_",
];
/// Variables that an outer cargo or its user set for the host's build.
const DROPPED: [&str; 7] = [
    "RUSTUP_TOOLCHAIN",
    "RUSTFLAGS",
    "RUSTDOCFLAGS",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUST_RECURSION_COUNT",
    "RUSTUP_TOOLCHAIN_SOURCE",
];

/// Locked by whose turn it is.
const TURN: &str = ".turn";

/// A firmware package to be built.
#[derive(Clone, Debug)]
pub(crate) struct Firmware {
    /// Its directory.
    pub(crate) package: PathBuf,
    /// Where cargo builds.
    pub(crate) target_directory: PathBuf,
    /// Target triple.
    pub(crate) target: &'static str,
    /// The chip that it is for, as the debugger names it.
    pub(crate) chip: String,
    /// Features, beside that of the chip.
    pub(crate) features: Vec<String>,
    /// Whether the compiler's messages may be coloured.
    pub(crate) coloured: bool,
}

/// What came of a build.
#[derive(Debug)]
pub(crate) struct Built {
    /// The ELF.
    pub(crate) elf: PathBuf,
    /// Whether nothing had to be compiled.
    pub(crate) fresh: bool,
    /// Wall time.
    pub(crate) took: Duration,
}

/// What is told while it is built.
pub(crate) enum Progress<'a> {
    /// The target was missing and is being installed.
    AddingTarget(&'a str),
    /// So many packages are done.
    Compiled(u64),
}

/// Why there is no firmware. All of them are for the user to mend: exit code 2.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    #[error("there is no firmware package in `{}`; set `firmware` in the rig file", .0.display())]
    NoPackage(PathBuf),
    #[error("can't run `{program}`: {source}; install Rust from https://rustup.rs")]
    NoProgram {
        program: &'static str,
        source: std::io::Error,
    },
    #[error(
        "the target `{target}` is not installed, and there is no rustup to add it; install it, or run `rustup target add {target}`"
    )]
    NoRustup { target: &'static str },
    #[error(
        "the target `{target}` can't be added; run `rustup target add {target}` and see:\n{said}"
    )]
    NoTarget { target: &'static str, said: String },
    #[error("the firmware does not compile:\n\n{said}")]
    Compiler { said: String },
    #[error("cargo built no program in `{}`", .0.display())]
    NoProgramBuilt(PathBuf),
    #[error("can't read what cargo says: {0}")]
    Io(#[from] std::io::Error),
}

/// The target triple for a chip, as the debugger names it.
pub(crate) fn target_of(chip: &str) -> Option<&'static str> {
    match chip {
        "esp32c2" | "esp32c3" => Some("riscv32imc-unknown-none-elf"),
        "esp32c6" | "esp32h2" => Some("riscv32imac-unknown-none-elf"),
        _ => None,
    }
}

impl Firmware {
    /// Builds it, telling how far it has come. Dropped in the middle, cargo is ended.
    pub(crate) async fn build(
        &self,
        mut progress: impl FnMut(Progress<'_>),
    ) -> Result<Built, BuildError> {
        if !self.package.join("Cargo.toml").is_file() {
            return Err(BuildError::NoPackage(self.package.clone()));
        }
        let since = Instant::now();
        if !self.has_target().await? {
            progress(Progress::AddingTarget(self.target));
            self.add_target().await?;
        }
        let mut command = self.command("cargo");
        command
            .args([
                "build",
                "--release",
                "--quiet",
                "--message-format=json-render-diagnostics",
            ])
            .arg("--target-dir")
            .arg(&self.target_directory)
            .args(["--target", self.target])
            .args(["--color", if self.coloured { "always" } else { "never" }])
            .args(self.feature_arguments()?);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| BuildError::NoProgram {
                program: "cargo",
                source,
            })?;
        let (Some(stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(BuildError::Io(std::io::Error::other("no pipe")));
        };
        let mut said = String::new();
        let (artifacts, read) = tokio::join!(
            read_artifacts(stdout, &mut progress),
            stderr.read_to_string(&mut said)
        );
        let artifacts = artifacts?;
        read?;
        if !child.wait().await?.success() {
            return Err(BuildError::Compiler { said });
        }
        Ok(Built {
            elf: artifacts
                .elf
                .ok_or_else(|| BuildError::NoProgramBuilt(self.package.clone()))?,
            fresh: artifacts.compiled == 0,
            took: since.elapsed(),
        })
    }

    /// Which features cargo is to turn on: a package that is for several chips has one named after
    /// each, and one of them by default.
    fn feature_arguments(&self) -> Result<Vec<String>, BuildError> {
        let manifest = fs::read_to_string(self.package.join("Cargo.toml"))?;
        // What is wrong with a manifest is cargo's to tell.
        let Manifest { features: declared } = toml::from_str(&manifest).unwrap_or_default();
        let mut features = self.features.clone();
        let mut arguments = vec![];
        let default = declared.get("default");
        let is_default = default.is_some_and(|default| default.contains(&self.chip));
        if declared.contains_key(&self.chip) && !is_default {
            arguments.push("--no-default-features".to_owned());
            features.push(self.chip.clone());
        }
        if !features.is_empty() {
            arguments.push(format!("--features={}", features.join(",")));
        }
        Ok(arguments)
    }

    /// The turn to build, kept until what was built is read: a build with other features writes to
    /// the same place, and cargo's own lock ends with the build. Waits for whoever has it.
    pub(crate) async fn turn(&self) -> io::Result<File> {
        let path = self.target_directory.join(TURN);
        let taken = tokio::task::spawn_blocking(move || {
            if let Some(directory) = path.parent() {
                fs::create_dir_all(directory)?;
            }
            let file = File::create(path)?;
            file.lock()?;
            Ok(file)
        });
        taken.await.map_err(io::Error::other)?
    }

    /// Whether the compiler has the target's libraries; works with and without rustup.
    async fn has_target(&self) -> Result<bool, BuildError> {
        let output = self
            .command("rustc")
            .args(["--print", "target-libdir", "--target", self.target])
            .output()
            .await
            .map_err(|source| BuildError::NoProgram {
                program: "rustc",
                source,
            })?;
        let directory = String::from_utf8_lossy(&output.stdout);
        Ok(output.status.success() && Path::new(directory.trim()).is_dir())
    }

    async fn add_target(&self) -> Result<(), BuildError> {
        let output = match self
            .command("rustup")
            .args(["target", "add", self.target])
            .output()
            .await
        {
            Ok(output) => output,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(BuildError::NoRustup {
                    target: self.target,
                });
            }
            Err(source) => {
                return Err(BuildError::NoProgram {
                    program: "rustup",
                    source,
                });
            }
        };
        match output.status.success() {
            true => Ok(()),
            false => Err(BuildError::NoTarget {
                target: self.target,
                said: String::from_utf8_lossy(&output.stderr).into_owned(),
            }),
        }
    }

    /// A program in the package's directory, so that rustup and cargo find what belongs to it.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(&self.package)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_foreign(name)) {
            command.env_remove(name);
        }
        command
    }
}

/// Whether a variable is an outer cargo's, and meant for the host.
fn is_foreign(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    DROPPED.contains(&name)
        || name == "CARGO"
        || (name.starts_with("CARGO_") && !KEPT.iter().any(|kept| name.starts_with(kept)))
}

/// What is read of a package's `Cargo.toml`.
#[derive(Default, Deserialize)]
struct Manifest {
    #[serde(default)]
    features: BTreeMap<String, Vec<String>>,
}

struct Artifacts {
    elf: Option<PathBuf>,
    compiled: u64,
}

/// The messages of `cargo build --message-format=json`.
/// Source: The Cargo Book, External tools, JSON messages.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    fresh: bool,
    executable: Option<PathBuf>,
}

async fn read_artifacts(
    stdout: ChildStdout,
    progress: &mut impl FnMut(Progress<'_>),
) -> Result<Artifacts, std::io::Error> {
    let mut artifacts = Artifacts {
        elf: None,
        compiled: 0,
    };
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        // A build script may print anything; what is no message of cargo is nobody's business here.
        let Ok(message) = serde_json::from_str::<Message>(&line) else {
            continue;
        };
        if message.reason != "compiler-artifact" {
            continue;
        }
        if !message.fresh {
            artifacts.compiled += 1;
            progress(Progress::Compiled(artifacts.compiled));
        }
        if let Some(executable) = message.executable {
            artifacts.elf = Some(executable);
        }
    }
    Ok(artifacts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_outer_cargo_left_is_told_from_what_the_user_set() {
        for (name, foreign) in [
            ("RUSTUP_TOOLCHAIN", true),
            ("RUSTFLAGS", true),
            ("CARGO", true),
            ("CARGO_MANIFEST_DIR", true),
            ("CARGO_ENCODED_RUSTFLAGS", true),
            ("CARGO_TARGET_DIR", true),
            ("CARGO_BUILD_TARGET", true),
            ("CARGO_PROFILE_RELEASE_LTO", true),
            ("CARGO_HOME", false),
            ("CARGO_NET_OFFLINE", false),
            ("CARGO_REGISTRIES_OURS_TOKEN", false),
            ("RUSTUP_HOME", false),
            ("PATH", false),
            ("CARGOES", false),
        ] {
            assert_eq!(is_foreign(name.as_ref()), foreign, "{name}");
        }
    }

    /// Its libraries are always there.
    const HOST: &str = if cfg!(target_arch = "aarch64") {
        "aarch64-unknown-linux-gnu"
    } else {
        "x86_64-unknown-linux-gnu"
    };

    /// A package for the host, which is always there, in place of firmware.
    fn package(directory: &Path, main: &str) -> Firmware {
        std::fs::create_dir_all(directory.join("src")).unwrap();
        let manifest =
            "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n";
        std::fs::write(directory.join("Cargo.toml"), manifest).unwrap();
        std::fs::write(directory.join("src/main.rs"), main).unwrap();
        Firmware {
            package: directory.to_owned(),
            target_directory: directory.join("built"),
            target: HOST,
            chip: "esp32c3".to_owned(),
            features: Vec::new(),
            coloured: false,
        }
    }

    #[test]
    fn a_chip_that_is_not_the_default_is_named_to_cargo() {
        let directory = tempfile::tempdir().unwrap();
        let mut firmware = package(directory.path(), "");
        let manifest = directory.path().join("Cargo.toml");
        let mut check = |features: &str, chip: &str, hooks: bool, expected: &[&str]| {
            fs::write(&manifest, format!("[features]\n{features}")).unwrap();
            firmware.chip = chip.to_owned();
            firmware.features = if hooks {
                vec!["test-hooks".to_owned()]
            } else {
                vec![]
            };
            assert_eq!(
                firmware.feature_arguments().unwrap(),
                expected,
                "{features}, {chip}"
            );
        };
        let chips = "default = ['esp32c3']\nesp32c3 = []\nesp32c6 = []\ntest-hooks = []";
        check(chips, "esp32c3", false, &[]);
        check(chips, "esp32c3", true, &["--features=test-hooks"]);
        check(
            chips,
            "esp32c6",
            false,
            &["--no-default-features", "--features=esp32c6"],
        );
        check(
            chips,
            "esp32c6",
            true,
            &["--no-default-features", "--features=test-hooks,esp32c6"],
        );
        check(
            "test-hooks = []",
            "esp32c6",
            true,
            &["--features=test-hooks"],
        );
        check("not a feature", "esp32c6", false, &[]);
    }

    #[tokio::test]
    async fn a_package_is_built_once() {
        let directory = tempfile::tempdir().unwrap();
        let firmware = package(directory.path(), "fn main() {}");
        let built = firmware.build(|_| {}).await.unwrap();
        assert!(built.elf.is_file() && !built.fresh, "{built:?}");
        let again = firmware.build(|_| {}).await.unwrap();
        assert!(again.fresh && again.elf == built.elf, "{again:?}");
    }

    #[tokio::test]
    async fn one_builds_at_a_time_until_it_was_read() {
        let directory = tempfile::tempdir().unwrap();
        let firmware = package(directory.path(), "fn main() {}");
        let turn = firmware.turn().await.unwrap();
        let other = File::open(firmware.target_directory.join(TURN)).unwrap();
        assert!(other.try_lock().is_err());
        drop(turn);
        assert!(other.try_lock().is_ok());
        drop(other);
        firmware.turn().await.unwrap();
    }

    #[tokio::test]
    async fn errors_of_the_compiler_are_shown_as_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let firmware = package(directory.path(), "fn main() { no_such_function() }");
        let error = firmware.build(|_| {}).await.unwrap_err().to_string();
        assert!(
            error.starts_with(
                "the firmware does not compile:\n\nerror[E0425]: cannot find function"
            ),
            "{error}"
        );
        assert!(error.contains("src/main.rs:1:13"), "{error}");
    }

    #[tokio::test]
    async fn a_directory_without_a_package_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let mut firmware = package(directory.path(), "");
        firmware.package = directory.path().join("attic");
        let error = firmware.build(|_| {}).await.unwrap_err().to_string();
        assert!(
            error.ends_with("attic`; set `firmware` in the rig file"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_target_that_can_not_be_added_is_told_with_the_command() {
        let directory = tempfile::tempdir().unwrap();
        let mut firmware = package(directory.path(), "fn main() {}");
        firmware.target = "riscv99-unknown-none-elf";
        let mut added = Vec::new();
        let error = firmware
            .build(|progress| {
                if let Progress::AddingTarget(target) = progress {
                    added.push(target.to_owned());
                }
            })
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`rustup target add riscv99-unknown-none-elf`"),
            "{error}"
        );
        assert_eq!(added, ["riscv99-unknown-none-elf"]);
    }
}
