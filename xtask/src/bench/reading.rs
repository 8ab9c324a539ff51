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

/// The processor time in ticks, user and system together, from `/proc/PID/stat`. The name, in brackets, may be anything.
pub(crate) fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    // The first word behind the name is field 3; proc(5) numbers user time 14 and system time 15.
    let mut words = rest.split_whitespace().skip(14 - 3);
    Some(words.next()?.parse::<u64>().ok()? + words.next()?.parse::<u64>().ok()?)
}

/// A line such as `VmRSS:  1234 kB` of `/proc/PID/status`.
pub(crate) fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = "4711 (a b) 1) S 1 4711 4711 0 -1 4194560 155 0 0 0 12 34 0 0 20 0 3 0 99 1 2 3";
        assert_eq!(ticks(stat), Some(46));
        assert_eq!(ticks("4711 (a) S 1"), None);
    }

    #[test]
    fn memory_is_read_from_the_status() {
        assert_eq!(kilobytes("Name:\tx\nVmRSS:\t    1234 kB\n", "VmRSS"), Some(1234));
        assert_eq!(kilobytes("Name:\tx\n", "VmRSS"), None);
    }

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
