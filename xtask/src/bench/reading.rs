//! What strace, callgrind and `load` write.

use std::collections::BTreeMap;

/// Calls by their names, from the summary of `strace -c`.
///
/// ```text
/// % time     seconds  usecs/call     calls    errors syscall
///  60.02    0.012345           3      4000        12 recvfrom
///  39.98    0.008224           2      4000           sendto
/// 100.00    0.020569           2      8000        12 total
/// ```
pub(crate) fn calls(summary: &str) -> BTreeMap<String, u64> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, calls) = (words.last()?, words.get(3)?);
        (words.len() >= 5 && *name != "total").then_some(())?;
        Some(((*name).to_owned(), calls.parse().ok()?))
    };
    summary.lines().filter_map(row).collect()
}

/// Instructions, from the file that callgrind writes: one line `totals: N`, or `summary: N`.
pub(crate) fn instructions(profile: &str) -> Option<u64> {
    let sum = |line: &str| {
        let rest = line.strip_prefix("totals:").or_else(|| line.strip_prefix("summary:"))?;
        rest.split_whitespace().next()?.parse().ok()
    };
    profile.lines().rev().find_map(sum)
}

/// The number behind `name=` in a line of such words.
pub(crate) fn number(line: &str, name: &str) -> Option<f64> {
    let word = |word: &str| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
    line.split_whitespace().find_map(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_with_and_without_errors() {
        let summary = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.02    0.012345           3      4000        12 recvfrom
 39.98    0.008224           2      4001           sendto
------ ----------- ----------- --------- --------- ----------------
100.00    0.020569           2      8001        12 total
";
        let calls = calls(summary);
        assert_eq!((calls.len(), calls["recvfrom"], calls["sendto"]), (2, 4000, 4001));
    }

    #[test]
    fn instructions_are_those_of_the_whole_program() {
        let profile = "version: 1\nevents: Ir\nsummary: 12\n\nfn=main\n1 7\n\ntotals: 4711\n";
        assert_eq!(instructions(profile), Some(4711));
        assert_eq!(instructions("version: 1\n"), None);
    }

    #[test]
    fn numbers_are_found_by_their_whole_name() {
        let line = "messages=200 server_ns=1234";
        assert_eq!((number(line, "server_ns"), number(line, "messages")), (Some(1234.0), Some(200.0)));
        assert_eq!(number(line, "ns"), None);
    }
}
