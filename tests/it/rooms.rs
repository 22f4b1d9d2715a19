//! The rooms of the core and the layers of the fake panel: which may know which, and that no two modules import
//! each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Each room with those that it may name; jobs, scheduler and testing stand on all.
const ROOMS: [(&str, &[&str]); 4] = [
    ("model", &[]),
    ("decide", &["model"]),
    ("port", &["decide", "model"]),
    ("adapter", &["decide", "model", "port"]),
];

/// Each layer of the fake panel with those that it may name; its handle and its builder stand on all.
const LAYERS: [(&str, &[&str]); 3] = [("panel", &[]), ("api", &["panel"]), ("wire", &["api", "panel"])];

/// The code of each module of a folder, by its path in the crate such as `decide::merge_ends`; a module's children count as it.
fn modules(folder: &Path) -> BTreeMap<String, String> {
    let mut modules: BTreeMap<String, String> = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(folder).unwrap().with_extension("");
                let parts: Vec<&str> = inside.iter().take(2).map(|part| part.to_str().unwrap()).collect();
                let code = std::fs::read_to_string(&path).unwrap();
                modules
                    .entry(parts.join("::"))
                    .or_default()
                    .push_str(&code_of(&code));
            }
        }
    }
    modules
}

/// A file without its comments and its unit tests.
fn code_of(file: &str) -> String {
    let code = file.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The modules that the code names, as `room::module`.
fn named(code: &str, modules: &BTreeMap<String, String>) -> BTreeSet<String> {
    let after = code.split("crate::").skip(1);
    after
        .filter_map(|path| {
            let end = path.find(|letter: char| !letter.is_alphanumeric() && !"_:".contains(letter));
            let mut parts = path[..end.unwrap_or(path.len())].split("::");
            let (room, module) = (parts.next()?, parts.next().unwrap_or_default());
            let name = format!("{room}::{module}");
            Some(if modules.contains_key(&name) {
                name
            } else {
                room.to_owned()
            })
        })
        .collect()
}

fn core_modules() -> BTreeMap<String, String> {
    modules(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../marzban-sync-core/src"))
}

/// The modules of the fake panel, each path in them as one of a crate of its own.
fn fake_panel_modules() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../marzban-api/src/testing");
    let mut modules = modules(&folder);
    for (module, code) in &mut modules {
        let above = match module.split_once("::") {
            Some((layer, _)) => format!("crate::{layer}::"),
            None => "crate::".to_owned(),
        };
        *code = code
            .replace("super::", &above)
            .replace("crate::testing::", "crate::");
    }
    modules
}

#[test]
fn each_room_names_those_below_it_alone() {
    check_rooms(&core_modules(), &ROOMS);
}

#[test]
fn each_layer_of_the_fake_panel_names_those_below_it_alone() {
    check_rooms(&fake_panel_modules(), &LAYERS);
}

fn check_rooms(modules: &BTreeMap<String, String>, rooms: &[(&str, &[&str])]) {
    for (room, may_name) in rooms {
        for (module, code) in modules
            .iter()
            .filter(|(module, _)| module.starts_with(&format!("{room}::")))
        {
            for other in named(code, modules) {
                let of = other.split("::").next().unwrap_or_default();
                assert!(of == *room || may_name.contains(&of), "{module} names {other}");
            }
        }
    }
}

#[test]
fn no_two_modules_import_each_other() {
    check_imports(&core_modules());
}

#[test]
fn no_two_modules_of_the_fake_panel_import_each_other() {
    check_imports(&fake_panel_modules());
}

fn check_imports(modules: &BTreeMap<String, String>) {
    let named: BTreeMap<&String, BTreeSet<String>> = modules
        .iter()
        .map(|(module, code)| (module, named(code, modules)))
        .collect();
    let mut edges = 0;
    for (module, others) in &named {
        for other in others.iter().filter(|other| other != module) {
            edges += 1;
            let back = named.get(other).is_some_and(|back| back.contains(*module));
            assert!(!back, "{module} and {other} import each other");
        }
    }
    assert!(edges > 50, "the modules were read: {edges}");
}
