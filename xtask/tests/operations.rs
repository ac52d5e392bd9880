//! What operators are given (docs/operations.md and deploy/) holds of the programs: every option, exit code, metric,
//! alert, log line and path in it exists. Compose file, units and rules are also given to the tools that read them,
//! where these are installed.

#[path = "operations/commands.rs"]
mod commands;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use commands::{Helps, command, option_in, program};

const DOCUMENT: &str = "docs/operations.md";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Blocks of code by their language, and the code within lines.
fn code(text: &str) -> (Vec<(&str, Vec<&str>)>, Vec<&str>) {
    let (mut blocks, mut spans) = (vec![], vec![]);
    let mut open = false;
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            open = !open;
            if open {
                blocks.push((language, vec![]));
            }
        } else if open {
            blocks.last_mut().unwrap().1.push(line);
        } else {
            let parts: Vec<&str> = line.split('`').collect();
            assert!(parts.len() % 2 == 1, "a backtick too few or too many: {line}");
            spans.extend(parts.into_iter().skip(1).step_by(2));
        }
    }
    assert!(!open, "a block of code without an end");
    (blocks, spans)
}

#[test]
fn every_command_and_option_in_the_document_exists() {
    let (text, mut helps, mut wrong, mut seen) = (read(DOCUMENT), Helps::default(), vec![], 0);
    let all = helps.all();
    let (blocks, spans) = code(&text);
    let lines = blocks.iter().filter(|block| block.0 == "sh").flat_map(|block| block.1.iter().copied());
    for line in lines.chain(spans.iter().copied()) {
        let line = line.strip_prefix("eval \"$(").map_or(line, |line| line.trim_end_matches(")\""));
        if let Some((name, arguments)) = command(line) {
            seen += 1;
            wrong.extend(helps.unknown(name, &arguments));
        }
    }
    for span in spans {
        let option = option_in(span).filter(|_| span.starts_with("--"));
        wrong.extend(option.filter(|option| !all.contains(*option)).map(|option| format!("no program has {option}")));
    }
    assert!(seen > 25, "commands are not found any more: {seen}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn units_start_what_is_there_and_stay_down_where_it_is_no_use() {
    let (mut helps, mut wrong) = (Helps::default(), vec![]);
    let all = helps.all();
    for unit in ["cloister-node.service", "cloister-worker.service"] {
        let text = read(&format!("deploy/systemd/{unit}"));
        let start = text.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/")).expect(unit);
        let (name, arguments) = command(start).expect(unit);
        wrong.extend(helps.unknown(name, &arguments));
        let options = text.split_whitespace().filter_map(|word| option_in(word.trim_start_matches("OPTIONS=")));
        wrong.extend(options.filter(|option| !all.contains(*option)).map(|option| format!("{unit}: {option}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");

    let help = helps.of(&["cloister-worker".to_owned()]).text.clone();
    let list = help.split_once("Exit codes:\n").unwrap().1;
    let codes: Vec<&str> = list.lines().filter_map(|line| line.trim().split_once("  ")).map(|(code, _)| code).collect();
    assert_eq!(codes, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let document = read(DOCUMENT);
    for code in &codes {
        assert!(document.contains(&format!("\n| {code} | ")), "exit code {code} is not explained");
    }
    let unit = read("deploy/systemd/cloister-worker.service");
    let prevented = unit.lines().find_map(|line| line.strip_prefix("RestartPreventExitStatus=")).unwrap();
    assert!(prevented.split(' ').all(|code| codes.contains(&code)), "{prevented}");
    let (last, others) = prevented.rsplit_once(' ').map(|(others, last)| (last, others)).unwrap();
    let said = format!("after all but {} and {last}", others.replace(' ', ", "));
    assert!(document.contains(&said), "the document does not say: {said}");
}

/// Unit by unit, with the programs as they were built: those of an installation are not here.
#[test]
fn systemd_takes_the_units() {
    if !is_there("systemd-analyze", &["--version"]) {
        return;
    }
    let directory = scratch("units");
    for unit in ["cloister-node.service", "cloister-worker.service"] {
        let built = program("cloister-node").parent().unwrap().display().to_string();
        let text = read(&format!("deploy/systemd/{unit}")).replace("/usr/local/bin", &built);
        fs::write(directory.join(unit), text).unwrap();
        let output = Command::new("systemd-analyze").arg("verify").arg(directory.join(unit)).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // It also says what it finds in other units of the machine.
        assert!(output.status.success() && !said.contains("cloister"), "{unit}: {said}");
    }
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn containers_start_what_is_there() {
    let (mut helps, mut wrong) = (Helps::default(), vec![]);
    let dockerfile = read("deploy/Dockerfile");
    let list = |text: &str| serde_json::from_str::<Vec<String>>(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let (mut entry, mut stages) = (vec![], vec![]);
    for line in dockerfile.lines() {
        if let Some(words) = line.strip_prefix("ENTRYPOINT ") {
            entry = list(words);
            entry.retain(|word| word != "tini" && word != "--");
        } else if let Some(words) = line.strip_prefix("CMD ") {
            let words = list(words);
            let arguments: Vec<&str> = words.iter().map(String::as_str).collect();
            stages.push(entry[0].clone());
            wrong.extend(helps.unknown(&entry[0], &arguments));
        } else if let Some((_, arguments)) = command(line.trim().trim_end_matches(['\\', '&', ' '])) {
            wrong.extend(helps.unknown("cargo xtask", &arguments));
        } else if let Some((_, path)) = line.split_once("http://127.0.0.1:4545/") {
            let path = path.trim_end_matches(['"', ']']);
            assert!(read("worker/src/http.rs").contains(&format!("route(\"/{path}\"")), "{path}");
        }
        for copied in line.split_whitespace().filter_map(|word| word.strip_prefix("/out/")) {
            program(copied);
        }
    }
    assert_eq!(stages, ["cloister-node", "cloister-worker", "cloister"]);

    let compose = read("deploy/docker-compose.yml");
    let services = compose_services(&compose);
    let programs: Vec<_> = services.iter().map(|(service, image, _)| (service.as_str(), image.as_str())).collect();
    assert_eq!(programs, [("alice", "cloister-node"), ("bob", "cloister-node"), ("worker", "cloister-worker")]);
    for (_, image, arguments) in &services {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        assert!(arguments.len() > 4, "{image}: {arguments:?}");
        wrong.extend(helps.unknown(image, &arguments));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for volume in compose.lines().filter_map(|line| line.trim().strip_prefix("- ./")) {
        let path = volume.split(':').next().unwrap();
        assert!(root().join("deploy").join(path).exists(), "{path}");
    }

    let peer = compose.lines().find_map(|line| line.split_once("--node-key=")).unwrap().1;
    let file = scratch("key").join("key");
    fs::write(&file, peer).unwrap();
    let mut inspect = Command::new(program("cloister-node"));
    let output = inspect.args(["key", "inspect-node-key", "--file"]).arg(&file).output().unwrap();
    let id = String::from_utf8(output.stdout).unwrap();
    assert!(compose.contains(&format!("/dns/alice/tcp/30333/p2p/{}\n", id.trim())), "{id}");
    fs::remove_dir_all(file.parent().unwrap()).unwrap();
}

/// Service, image and command of those that have a command of ours.
fn compose_services(text: &str) -> Vec<(String, String, Vec<String>)> {
    let (mut services, mut images) = (vec![], BTreeMap::new());
    let (mut block, mut image, mut arguments, mut within) = (String::new(), String::new(), vec![], false);
    for line in text.lines().chain(["end:"]).filter(|line| !line.trim().is_empty() && !line.trim().starts_with('#')) {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        if indent == 0 || indent == 2 && line.ends_with(':') {
            if !arguments.is_empty() {
                services.push((block.clone(), image.clone(), std::mem::take(&mut arguments)));
            }
            if let Some((_, anchor)) = block.split_once('&') {
                images.insert(anchor.to_owned(), image.clone());
            }
            (block, image, within) = (line.trim_end_matches(':').to_owned(), String::new(), false);
        } else if let Some(name) = line.strip_prefix("image: ") {
            name.clone_into(&mut image);
        } else if let Some(anchor) = line.strip_prefix("<<: *") {
            image = images.get(anchor).cloned().unwrap_or_default();
        } else if line == "command:" {
            within = true;
        } else if let Some(argument) = line.strip_prefix("- ").filter(|_| within) {
            arguments.push(argument.to_owned());
        } else {
            within = false;
        }
    }
    services
}

#[test]
fn compose_takes_its_file() {
    let plugin =
        Command::new("docker").args(["compose", "version"]).output().is_ok_and(|output| output.status.success());
    let mut compose = match plugin {
        true => Command::new("docker"),
        false if is_there("docker-compose", &["version"]) => Command::new("docker-compose"),
        false => return,
    };
    let arguments = ["--file", "deploy/docker-compose.yml", "--profile", "monitoring", "config", "--services"];
    let output = compose.args(plugin.then_some("compose")).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut services: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(Into::into).collect();
    services.sort();
    assert_eq!(services, ["alice", "bob", "grafana", "prometheus", "worker"]);
}

/// The metrics that a worker renders, as `worker/src/http.rs` names them.
fn metrics() -> BTreeSet<String> {
    let source = read("worker/src/http.rs");
    let list = source.split_once("\nmetrics! {\n").unwrap().1.split_once("\n}\n").unwrap().0;
    let names = list.lines().map(|line| format!("cloister_{}", line.trim().split_once(": ").unwrap().0));
    let metrics: BTreeSet<_> = names.collect();
    assert!(metrics.len() > 30, "{metrics:?}");
    metrics
}

/// Words that begin like a metric of ours; a histogram's three are one.
fn named(text: &str) -> BTreeSet<String> {
    let of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words = text.split(|letter| !of_name(letter)).filter(|word| word.starts_with("cloister_"));
    let base = |word: &str| {
        let histogram = word.strip_prefix("cloister_store_commit_seconds_");
        histogram.map_or(word, |_| "cloister_store_commit_seconds").to_owned()
    };
    words.map(base).collect()
}

#[test]
fn every_metric_that_is_named_is_rendered_and_every_rendered_one_is_explained() {
    let metrics = metrics();
    for file in ["deploy/grafana/cloister-worker.json", "deploy/prometheus/alerts.yml", DOCUMENT] {
        let unknown: Vec<_> = named(&read(file)).difference(&metrics).cloned().collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
    let text = read(DOCUMENT);
    let unexplained: Vec<_> = metrics.iter().filter(|name| !text.contains(&format!("\n| `{name}` | "))).collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
}

#[test]
fn every_panel_of_the_dashboard_asks_for_something() {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/cloister-worker.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let (mut ids, mut asked) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        if panel["type"] != "row" {
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{panel}");
            asked.extend(targets.iter().flat_map(|target| named(target["expr"].as_str().unwrap())));
        }
    }
    assert_eq!(asked, metrics());
}

#[test]
fn every_alert_is_whole_and_has_a_page() {
    let (rules, document) = (read("deploy/prometheus/alerts.yml"), read(DOCUMENT));
    let alerts: Vec<&str> = rules.split("\n      - alert: ").skip(1).collect();
    assert!(alerts.len() > 20, "{} alerts", alerts.len());
    for alert in &alerts {
        let name = alert.lines().next().unwrap();
        let has = |key: &str| {
            let value = alert.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            assert!(!value.is_empty(), "{name} has no {}", key.trim());
            value
        };
        let lasts = has("        for: ").trim_end_matches(['m', 'h']);
        assert!(lasts.parse::<u32>().is_ok_and(|time| time > 0), "{name}: {lasts}");
        assert!(["critical", "warning"].contains(&has("          severity: ")), "{name}");
        has("        expr: ");
        has("          summary: ");
        assert!(document.contains(&format!("\n| `{name}` | [")), "{name} has no page");
    }
    let pages = document.split_once("\n| alert | page |\n").unwrap().1;
    let pages = pages.lines().skip(1).take_while(|line| line.starts_with("| `")).count();
    assert_eq!(pages, alerts.len(), "pages for alerts that there are not");
    if is_there("promtool", &["--version"]) {
        let mut check = Command::new("promtool");
        check.args(["check", "config", "prometheus.yml"]).current_dir(root().join("deploy/prometheus"));
        let output = check.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

/// What our programs say is in their sources, between what they fill in.
#[test]
fn every_line_of_a_log_is_one_that_the_programs_write() {
    let mut sources = io::Error::from_raw_os_error(28).to_string();
    for directory in ["worker", "link/src", "enclave", "client/src"] {
        collect(&root().join(directory), &mut sources);
    }
    // A string that goes on in the next line goes on without its indentation.
    let mut joined = String::new();
    for part in sources.split("\\\n") {
        joined.push_str(if joined.is_empty() { part } else { part.trim_start() });
    }
    let text = read(DOCUMENT);
    let (blocks, _) = code(&text);
    let lines: Vec<&str> = blocks.iter().filter(|block| block.0 == "log").flat_map(|block| block.1.clone()).collect();
    assert!(lines.len() > 25, "{} lines", lines.len());
    let mut wrong = vec![];
    for line in lines {
        // One error may stand within another.
        let parts = line.strip_prefix("error: ").unwrap_or(line).split('…').flat_map(|part| part.split(": "));
        let fixed = parts.map(|part| part.trim_matches([' ', ':', ',', '.', ';', '(', ')']));
        let unknown = fixed.filter(|part| !joined.contains(part));
        wrong.extend(unknown.map(|part| format!("nobody says {part:?}: {line}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn collect(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" && name != "target" {
            collect(&path, text);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_link_of_the_document_leads_somewhere() {
    let text = read(DOCUMENT);
    let of_heading = |line: &str| {
        let kept = line.to_lowercase().replace(' ', "-");
        kept.chars().filter(|letter| letter.is_alphanumeric() || *letter == '-').collect::<String>()
    };
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchors: BTreeSet<String> = headings.map(of_heading).collect();
    let targets = text.split("](").skip(1).map(|rest| rest.split_once(')').unwrap().0);
    let (mut wrong, mut seen) = (vec![], 0);
    for target in targets {
        seen += 1;
        let found = match target.strip_prefix('#') {
            Some(anchor) => anchors.contains(anchor),
            None => root().join("docs").join(target).exists(),
        };
        wrong.extend((!found).then_some(target));
    }
    assert!(seen > 30 && wrong.is_empty(), "{seen} links, wrong: {wrong:?}");
}

/// Whether a tool is installed; loud if not, as nothing is checked with it then.
fn is_there(tool: &str, arguments: &[&str]) -> bool {
    let is_there = Command::new(tool).args(arguments).output().is_ok_and(|output| output.status.success());
    if !is_there {
        eprintln!("SKIPPED: {tool} is not installed, so what it reads is not given to it");
    }
    is_there
}

/// A new directory for files of a test.
fn scratch(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("cloister-operations-{name}-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    directory
}
