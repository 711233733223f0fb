//! Finds a plugin's file by its name: the domain's own directory first, then what is listed, then everybody's.

use std::{
    fs,
    path::{Path, PathBuf},
};

pub(crate) struct Found {
    pub(crate) path: PathBuf,
    /// In the domain's own directory: no operator vouches for it.
    pub(crate) is_own: bool,
}

pub(crate) fn find(name: &str, own: Option<&Path>, listed: Option<PathBuf>, common: &Path) -> Result<Found, String> {
    let is_name = !name.is_empty()
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if !is_name {
        return Err("a plugin's name is its file name without .wasm: letters, digits, '-', '_' and '.'".to_owned());
    }
    let file = format!("{name}.wasm");
    let own_file = own.map(|dir| dir.join(&file)).filter(|path| path.is_file());
    if let Some(path) = own_file {
        return Ok(Found { path, is_own: true });
    }
    let path = listed.unwrap_or_else(|| common.join(&file));
    if path.is_file() {
        return Ok(Found { path, is_own: false });
    }
    Err(not_found(name, own, common))
}

/// The names of the `*.wasm` files of a directory, sorted; none where it cannot be read.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".wasm")?.to_owned()))
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort_unstable();
    names
}

fn not_found(name: &str, own: Option<&Path>, common: &Path) -> String {
    let mut known: Vec<String> = own.into_iter().chain([common]).flat_map(names).collect();
    known.sort_unstable();
    known.dedup();
    let places: Vec<String> = own.into_iter().chain([common]).map(|dir| dir.display().to_string()).collect();
    let places = places.join(" or ");
    let nearest = known.iter().map(|other| (strsim::damerau_levenshtein(name, other), other)).min();
    match nearest {
        Some((distance, other)) if distance <= name.len().max(3) / 3 + 1 => {
            format!("there is no {name}.wasm in {places}; did you mean {other:?}?")
        }
        Some(_) => format!("there is no {name}.wasm in {places}; there are {}", known.join(", ")),
        None => format!("there is no {name}.wasm in {places}; put the component there"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domains_own_file_comes_first_and_the_nearest_name_is_told() {
        let (own, common) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(common.path().join("greylist.wasm"), "").unwrap();
        fs::write(common.path().join("tag.wasm"), "").unwrap();
        fs::write(own.path().join("tag.wasm"), "").unwrap();
        assert!(find("tag", Some(own.path()), None, common.path()).ok().unwrap().is_own);
        assert!(!find("greylist", Some(own.path()), None, common.path()).ok().unwrap().is_own);
        let error = find("graylist", None, None, common.path()).err().unwrap();
        assert!(error.ends_with("did you mean \"greylist\"?"), "{error}");
        for outside in ["../tag", "/etc/passwd", "", ".hidden", "a b"] {
            assert!(find(outside, None, None, common.path()).is_err());
        }
        assert_eq!(names(common.path()), ["greylist", "tag"]);
    }
}
