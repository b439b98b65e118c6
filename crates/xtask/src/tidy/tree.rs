//! The text files of the workspace, read once.

use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Every text file below the root by its path (with `/`), and the paths of all files, text or not.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    texts: BTreeMap<String, String>,
    paths: BTreeSet<String>,
}

impl Tree {
    /// Reads everything below `root` but build output and git's own files.
    pub(crate) fn read(root: &Path) -> Result<Tree> {
        let mut tree = Tree::default();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            let path = root.join(&folder);
            let entries = fs::read_dir(&path).with_context(|| format!("cannot list {}", path.display()))?;
            for entry in entries {
                let entry = entry.with_context(|| format!("cannot list {}", path.display()))?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let below = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    if name != "target" && name != ".git" {
                        tree.paths.insert(below.clone());
                        folders.push(below);
                    }
                } else if name != ".git" {
                    let bytes = fs::read(entry.path())
                        .with_context(|| format!("cannot read {}", entry.path().display()))?;
                    tree.paths.insert(below.clone());
                    if let Ok(text) = String::from_utf8(bytes) {
                        tree.texts.insert(below, text);
                    }
                }
            }
        }
        Ok(tree)
    }

    /// A tree that exists only in a test.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        for (path, text) in files {
            let mut folder = *path;
            while let Some((above, _)) = folder.rsplit_once('/') {
                tree.paths.insert(above.to_owned());
                folder = above;
            }
            tree.paths.insert((*path).to_owned());
            tree.texts.insert((*path).to_owned(), (*text).to_owned());
        }
        tree
    }

    /// How many text files there are.
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    /// Is there a file or folder of this path?
    pub(crate) fn has(&self, path: &str) -> bool {
        path.is_empty() || self.paths.contains(path)
    }

    /// All text files.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// All Rust sources.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts().filter(|(path, _)| path.ends_with(".rs"))
    }

    /// All Markdown files.
    pub(crate) fn pages(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts().filter(|(path, _)| path.ends_with(".md"))
    }
}
