//! Where the workspace is, and where its tools and servers are kept.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The checkout that a command works on.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Finds the workspace from the place where this crate was compiled.
    ///
    /// # Errors
    ///
    /// Fails when the checkout was moved since.
    pub fn find() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest
            .parent()
            .context("xtask lies directly under the workspace root")?;
        anyhow::ensure!(
            root.join("Cargo.toml").is_file(),
            "the workspace was moved: build xtask again"
        );
        Ok(Self {
            root: root.to_path_buf(),
        })
    }

    /// Takes `root` as the workspace, for tests.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }

    /// The directory of the workspace's manifest.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where tools are installed: inside `target`, so that a cleaned checkout is a fresh machine.
    #[must_use]
    pub fn tools(&self) -> PathBuf {
        self.root.join("target/tools")
    }

    /// Where the servers that tests talk to are installed.
    #[must_use]
    pub fn servers(&self) -> PathBuf {
        self.root.join("target/services")
    }
}
