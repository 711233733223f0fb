//! Tells other processes where a running gateway listens: a small file in the data directory.

use serde::{Deserialize, Serialize};
use std::{io, net::SocketAddr, path::Path};

const NAME: &str = "run.json";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFile {
    pub pid: u32,
    pub listeners: Vec<SocketAddr>,
    pub admin: Option<SocketAddr>,
    #[serde(default, rename = "check-in")]
    pub check_in: Option<SocketAddr>,
}

impl RunFile {
    pub fn write(&self, data_dir: &Path) -> io::Result<()> {
        let (temporary, name) = (data_dir.join("run.json.new"), data_dir.join(NAME));
        let text = serde_json::to_vec(self)?;
        let whole = std::fs::write(&temporary, &text).and_then(|()| std::fs::rename(&temporary, &name));
        if whole.is_ok() {
            return whole;
        }
        let _ = std::fs::remove_file(&temporary);
        // On a full disk there is room where the last one was.
        std::fs::write(name, text)
    }
    pub fn read(data_dir: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(data_dir.join(NAME))?)?)
    }
    pub fn remove(data_dir: &Path) {
        let _ = std::fs::remove_file(data_dir.join(NAME));
    }
}
