//! Speaks to the running gateway's admin interface.

use gateway::{RunFile, config::Config};
use serde::de::DeserializeOwned;
use std::{
    io::{self, BufRead},
    path::Path,
};

#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("no gateway runs with {config} (no run file of a living process in {data_dir}): start it with waypost run")]
    NotRunning { config: String, data_dir: String },
    #[error("cannot read the token file {path}: {source}; run this as the user that runs the gateway")]
    Token { path: String, source: io::Error },
    #[error("the gateway at {address} does not answer: {source}; is it running?")]
    Unreachable { address: String, source: Box<ureq::Error> },
    #[error("{0}")]
    Refused(String),
}

pub struct AdminClient {
    base: String,
    token: String,
}

impl AdminClient {
    pub fn new(config: &Config) -> Result<Self, AdminError> {
        let not_running = || AdminError::NotRunning {
            config: config.file.display().to_string(),
            data_dir: config.data_dir.display().to_string(),
        };
        // A gateway that was killed leaves its file behind; whoever has its port now must not get the token.
        let alive = |file: &RunFile| Path::new("/proc").join(file.pid.to_string()).exists();
        let running = RunFile::read(&config.data_dir).ok().filter(alive);
        let address = running.and_then(|file| file.admin).ok_or_else(not_running)?;
        let path = &config.admin.token_file;
        let token = std::fs::read_to_string(path)
            .map_err(|source| AdminError::Token { path: path.display().to_string(), source })?;
        Ok(Self { base: format!("http://{address}"), token: token.trim().to_owned() })
    }

    pub fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, AdminError> {
        let request = self
            .agent()
            .get(format!("{}{path}", self.base))
            .query_pairs(pairs(query))
            .header("Authorization", self.bearer());
        self.read(request.call())
    }

    pub fn post<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, AdminError> {
        let request = self
            .agent()
            .post(format!("{}{path}", self.base))
            .query_pairs(pairs(query))
            .header("Authorization", self.bearer());
        self.read(request.send_empty())
    }

    /// Each line of the answer as it comes.
    pub fn post_lines<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        mut told: impl FnMut(T),
    ) -> Result<(), AdminError> {
        let request = self
            .agent()
            .post(format!("{}{path}", self.base))
            .query_pairs(pairs(query))
            .header("Authorization", self.bearer());
        let unreachable = |source| AdminError::Unreachable { address: self.base.clone(), source: Box::new(source) };
        let mut response = request.send_empty().map_err(unreachable)?;
        if !response.status().is_success() {
            return self.read::<serde_json::Value>(Ok(response)).map(drop);
        }
        for line in io::BufReader::new(response.body_mut().as_reader()).lines() {
            let line = line.map_err(|error| unreachable(error.into()))?;
            let line = serde_json::from_str(&line).map_err(|error| unreachable(io::Error::from(error).into()))?;
            told(line);
        }
        Ok(())
    }

    fn agent(&self) -> ureq::Agent {
        // The token must not go through somebody's proxy, and an error's text must be read.
        ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into()
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    fn read<T: DeserializeOwned>(
        &self,
        response: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<T, AdminError> {
        let unreachable = |source| AdminError::Unreachable { address: self.base.clone(), source: Box::new(source) };
        let mut response = response.map_err(unreachable)?;
        if response.status().is_success() {
            return response.body_mut().read_json().map_err(unreachable);
        }
        #[derive(serde::Deserialize)]
        struct Problem {
            error: String,
        }
        let status = response.status();
        let told = response.body_mut().read_json::<Problem>().map(|problem| problem.error);
        Err(AdminError::Refused(told.unwrap_or_else(|_| format!("the gateway answered {status}"))))
    }
}

fn pairs<'a>(query: &'a [(&'a str, String)]) -> impl Iterator<Item = (&'a str, &'a str)> {
    query.iter().map(|(name, value)| (*name, value.as_str()))
}
