//! libFuzzer around one target, which `CLOISTER_FUZZ_TARGET` names. Started by `cargo xtask fuzz`.
//!
//! With `CLOISTER_FUZZ_LIST` it names the targets. With `CLOISTER_FUZZ_SEEDS` it first writes the target's seeds there.
//! With `CLOISTER_FUZZ_SECONDS` it ends after so many seconds of its own CPU time: a busy machine takes nothing away.
#![no_main]

use std::{env, fs, path::Path, process, sync::LazyLock, thread, time::Duration};

use cloister_fuzz::{TARGETS, Target, target};
use libfuzzer_sys::fuzz_target;
use rustix::{
    process::{Signal, getpid, kill_process},
    time::{ClockId, clock_gettime},
};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = env::var("CLOISTER_FUZZ_TARGET").unwrap_or_default();
    target(&name).unwrap_or_else(|| panic!("CLOISTER_FUZZ_TARGET={name} is no target"))
});

fuzz_target!(
    init: {
        prepare();
    },
    |input: &[u8]| (TARGET.run)(input)
);

fn prepare() {
    if env::var_os("CLOISTER_FUZZ_LIST").is_some() {
        TARGETS.iter().for_each(|target| println!("{}", target.name));
        process::exit(0);
    }
    if let Some(directory) = env::var_os("CLOISTER_FUZZ_SEEDS") {
        for (index, seed) in (TARGET.seeds)().into_iter().enumerate() {
            let file = Path::new(&directory).join(format!("seed-{index:02}"));
            fs::write(file, seed).expect("seeds can be written");
        }
    }
    if let Ok(seconds) = env::var("CLOISTER_FUZZ_SECONDS") {
        let seconds = seconds.parse().expect("CLOISTER_FUZZ_SECONDS is a number");
        thread::spawn(move || end_after(seconds));
    }
}

/// libFuzzer counts wall-clock time only, but ends in good order at this signal.
fn end_after(seconds: i64) {
    while clock_gettime(ClockId::ProcessCPUTime).tv_sec < seconds {
        thread::sleep(Duration::from_millis(200));
    }
    kill_process(getpid(), Signal::USR1).expect("a process can signal itself");
}
