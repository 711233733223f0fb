//! Reads the commands out of a page: the blocks that are fenced as `sh`.
//!
//! Blocks of other kinds are for people, and are never run.

/// Each block's text, in the page's order.
pub(crate) fn commands(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in page.lines() {
        match &mut open {
            Some(_) if line.trim_end() == "```" => blocks.extend(open.take()),
            Some(block) => {
                block.push_str(line);
                block.push('\n');
            }
            None if line.trim_end() == "```sh" => open = Some(String::new()),
            None => {}
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_blocks_of_commands_are_read_and_as_written() {
        let page = "a\n```toml\nx = 1\n```\n```sh\none\n  two\n```\n```\nno\n```\n```sh\nthree\n```\n";
        assert_eq!(commands(page), ["one\n  two\n", "three\n"]);
        assert!(commands("```sh\nnever closed\n").is_empty());
    }
}
