//! SECURITY.md names the tests that show what it says. They exist, and are where it says.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Test functions of the repository, with the files that hold them.
fn tests_of(directory: &Path, found: &mut Vec<(String, PathBuf)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            tests_of(&path, found);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).unwrap();
            let mut marked = false;
            for line in text.lines().map(str::trim) {
                if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                    marked = true;
                } else if marked && !line.starts_with("#[") && !line.starts_with("//") {
                    marked = false;
                    let signature = line.trim_start_matches("async ").strip_prefix("fn ");
                    if let Some((name, _)) = signature.and_then(|rest| rest.split_once('(')) {
                        found.push((name.to_owned(), path.clone()));
                    }
                }
            }
        }
    }
}

/// What stands between backticks in a cell, and whether it opens a parenthesis: then it says where the names before it are.
fn tokens(cell: &str) -> Vec<(bool, &str)> {
    let parts: Vec<&str> = cell.split('`').collect();
    assert!(parts.len() % 2 == 1, "a backtick too few or too many: {cell}");
    parts.chunks_exact(2).map(|pair| (pair[0].ends_with('('), pair[1])).collect()
}

/// Cells of the last column of each table whose last column says "shown by".
fn evidence(text: &str) -> Vec<&str> {
    let mut cells = vec![];
    let mut within = false;
    for line in text.lines() {
        let Some(row) = line.strip_prefix('|').and_then(|row| row.strip_suffix('|')) else {
            within = false;
            continue;
        };
        let last = row.rsplit('|').next().unwrap_or_default().trim();
        match within {
            false => within = last == "shown by",
            true if last.starts_with("---") => {}
            true => cells.push(last),
        }
    }
    cells
}

#[test]
fn every_test_that_security_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut tests = vec![];
    tests_of(root, &mut tests);
    let text = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let (mut wrong, mut named) = (vec![], 0);
    for cell in evidence(&text) {
        let tokens = tokens(cell);
        if tokens.is_empty() {
            wrong.push(format!("nothing shows: {cell}"));
        }
        let mut names: Vec<&str> = vec![];
        for (within, token) in tokens {
            let is_path = token.contains('/') || token.ends_with(".rs");
            if !is_path && !token.contains(' ') {
                named += 1;
                names.push(token);
                if !tests.iter().any(|(name, _)| name == token) {
                    wrong.push(format!("no test has this name: {token}"));
                }
                continue;
            }
            if is_path && !root.join(token).exists() {
                wrong.push(format!("no such file: {token}"));
            } else if is_path && within {
                let here = |name| tests.iter().any(|test| test.0 == name && test.1.starts_with(root.join(token)));
                let missing = names.iter().copied().filter(|name| !here(*name));
                wrong.extend(missing.map(|name| format!("{name} is not in {token}")));
            }
            names.clear();
        }
    }
    assert!(named > 50, "tables are not found any more: {named} names");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
