//! What processes use, as the kernel counts it.

use std::{fs, process, time::Duration};

use anyhow::{Context, Result};

/// The processes of a measurement.
#[derive(Clone, Debug)]
pub struct Processes(Vec<(&'static str, u32)>);

/// What they have used so far.
#[derive(Clone, Debug)]
pub struct Usage {
    /// CPU time by process; that of the enclave's threads for clients is one more entry.
    pub cpu: Vec<(&'static str, Duration)>,
    /// Bytes of memory that the enclave holds.
    pub enclave_bytes: u64,
}

impl Processes {
    /// This one, the node and the worker that it started, and the enclave that the worker started.
    pub fn find() -> Result<Self> {
        let own = process::id();
        let node = child(own, "cloister-node")?;
        let worker = child(own, "cloister-worker")?;
        let enclave = child(worker, "bulk-enclave")?;
        Ok(Self(vec![("enclave", enclave), ("worker", worker), ("node", node), ("clients", own)]))
    }

    /// What they have used.
    pub fn usage(&self) -> Result<Usage> {
        let mut cpu = Vec::new();
        let mut enclave_bytes = 0;
        for (name, id) in &self.0 {
            cpu.push((*name, Stat::read(&format!("/proc/{id}/stat"))?.cpu));
            if *name == "enclave" {
                let mut receiving = Duration::ZERO;
                for thread in fs::read_dir(format!("/proc/{id}/task"))? {
                    // It may have ended meanwhile.
                    let stat = Stat::read(&thread?.path().join("stat").to_string_lossy());
                    receiving +=
                        stat.ok().filter(|stat| stat.name == "clients").map_or(Duration::ZERO, |stat| stat.cpu);
                }
                cpu.push(("enclave/receiving", receiving));
                enclave_bytes = resident(*id)?;
            }
        }
        Ok(Usage { cpu, enclave_bytes })
    }
}

/// `/proc/PID/stat` (proc_pid_stat(5)).
struct Stat {
    name: String,
    parent: u32,
    cpu: Duration,
}

impl Stat {
    fn read(path: &str) -> Result<Self> {
        Self::parse(&fs::read_to_string(path)?).with_context(|| format!("{path} is not as expected"))
    }

    fn parse(stat: &str) -> Option<Self> {
        // A name may hold anything, parentheses and blanks included.
        let (head, rest) = stat.rsplit_once(") ")?;
        let name = head.split_once('(')?.1.to_owned();
        let mut fields = rest.split_whitespace().skip(1);
        let parent = fields.next()?.parse().ok()?;
        // User and system time.
        let mut ticks = fields.skip(9).map(str::parse::<u64>);
        let ticks = ticks.next()?.ok()? + ticks.next()?.ok()?;
        Some(Self { name, parent, cpu: Duration::from_millis(ticks * MS_PER_TICK) })
    }
}

fn child(parent: u32, name: &str) -> Result<u32> {
    let processes = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let mut children = processes.filter(|id| {
        Stat::read(&format!("/proc/{id}/stat")).is_ok_and(|stat| stat.parent == parent && stat.name == name)
    });
    children.next().with_context(|| format!("process {parent} has started no {name}"))
}

fn resident(id: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1_024)
}

/// Linux tells times in hundredths of a second (USER_HZ).
const MS_PER_TICK: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_line_is_read() {
        let line = "4711 (a ) b) S 42 4711 4711 0 -1 4194560 1 0 0 0 150 25 0 0 20 0 3 0 1 2 3";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.name.as_str(), stat.parent, stat.cpu), ("a ) b", 42, Duration::from_millis(1_750)));
        assert!(Stat::parse("4711").is_none());
    }

    #[test]
    fn ones_own_process_is_found() {
        assert!(resident(process::id()).unwrap() > 0);
        let own = Stat::read("/proc/self/stat").unwrap();
        assert!(child(own.parent, &own.name).is_ok());
        assert!(child(process::id(), "no such").is_err());
    }
}
