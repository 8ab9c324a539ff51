//! How long the messages are: one size, or several with their shares.

use std::fmt;

use crate::units::parse_size;

/// Sizes in bytes with their shares, which add up to one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sizes(Vec<(u32, f64)>);

impl Sizes {
    /// `20`, or `20:90%,16K:9%,1M:1%`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if !text.contains([':', ',']) {
            return Ok(Self(vec![(size(text)?, 1.0)]));
        }
        let mut sizes = Vec::new();
        for part in text.split(',') {
            let (bytes, share) = part.split_once(':').ok_or_else(|| format!("{part:?} has no share; {HELP}"))?;
            let digits = share.strip_suffix('%').ok_or_else(|| format!("the share {share:?} needs a %; {HELP}"))?;
            let percent =
                digits.parse::<f64>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
            match percent {
                Some(percent) if percent > 0.0 => sizes.push((size(bytes)?, percent / 100.0)),
                _ => return Err(format!("{share:?} is not a share; {HELP}")),
            }
        }
        let sum: f64 = sizes.iter().map(|(_, share)| share).sum();
        if (sum - 1.0).abs() > 1e-6 {
            return Err(format!("the shares add up to {:.4} %, not to 100 %", sum * 100.0));
        }
        Ok(Self(sizes))
    }

    /// Whether all messages are as long.
    pub(crate) fn is_one(&self) -> bool {
        self.0.len() == 1
    }

    /// Bytes of the longest message.
    pub(crate) fn longest(&self) -> u32 {
        self.0.iter().map(|(bytes, _)| *bytes).max().unwrap_or_default()
    }

    /// Bytes of the shortest message.
    pub(crate) fn shortest(&self) -> u32 {
        self.0.iter().map(|(bytes, _)| *bytes).min().unwrap_or_default()
    }

    /// The sizes of `slots` messages, by shares as exact as so many slots allow; each size has one at least. In the order of
    /// the sizes.
    pub(crate) fn apportion(&self, slots: usize) -> Vec<u32> {
        let mut counts: Vec<usize> =
            self.0.iter().map(|(_, share)| ((share * slots as f64).floor() as usize).max(1)).collect();
        // What rounding left over goes to the one that is furthest below its share; what it overdrew comes from the one
        // that is furthest above.
        loop {
            let total: usize = counts.iter().sum();
            let lack = |index: usize| self.0[index].1 * slots as f64 - counts[index] as f64;
            let order = |a: &usize, b: &usize| lack(*a).total_cmp(&lack(*b));
            let all = 0..counts.len();
            match total.cmp(&slots) {
                std::cmp::Ordering::Equal => break,
                std::cmp::Ordering::Less => {
                    let Some(most) = all.max_by(order) else { break };
                    counts[most] += 1;
                }
                std::cmp::Ordering::Greater => {
                    let Some(least) = all.filter(|index| counts[*index] > 1).min_by(order) else { break };
                    counts[least] -= 1;
                }
            }
        }
        self.0.iter().zip(counts).flat_map(|((bytes, _), count)| std::iter::repeat_n(*bytes, count)).collect()
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [(bytes, _)] = self.0[..] {
            return write!(f, "{bytes} bytes");
        }
        for (index, (bytes, share)) in self.0.iter().enumerate() {
            // Shares were read from decimal percents; this shows them so again.
            let percent = (share * 1e8).round() / 1e6;
            write!(f, "{}{percent} % of {bytes}", if index == 0 { "" } else { ", " })?;
        }
        f.write_str(" bytes")
    }
}

fn size(text: &str) -> Result<u32, String> {
    if text == "0" {
        return Ok(0);
    }
    let bytes = parse_size(text)?;
    u32::try_from(bytes).ok().filter(|bytes| *bytes <= LONGEST).ok_or_else(|| "the maximum is 1 GiB".to_owned())
}

const LONGEST: u32 = 1 << 30;

const HELP: &str = "write one size, or sizes with shares: 20:90%,16K:9%,1M:1%";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_size_and_several() {
        assert_eq!(Sizes::parse("16K").unwrap().apportion(3), [16384; 3]);
        assert_eq!(Sizes::parse("0").unwrap().longest(), 0);
        let mix = Sizes::parse("20:90%,16K:9%,1M:1%").unwrap();
        assert_eq!(
            (mix.longest(), mix.to_string()),
            (1 << 20, "90 % of 20, 9 % of 16384, 1 % of 1048576 bytes".into())
        );
        assert_eq!(Sizes::parse("20").unwrap().to_string(), "20 bytes");
        assert_eq!(Sizes::parse("1:33.3%,2:66.7%").unwrap().to_string(), "33.3 % of 1, 66.7 % of 2 bytes");
    }

    #[test]
    fn shares_come_out_as_exactly_as_the_slots_allow() {
        let counts = |mix: &str, slots| {
            let mix = Sizes::parse(mix).unwrap();
            let all = mix.apportion(slots);
            assert_eq!(all.len(), slots, "{mix}");
            mix.0.iter().map(|(bytes, _)| all.iter().filter(|size| *size == bytes).count()).collect::<Vec<_>>()
        };
        assert_eq!(counts("20:90%,16K:9%,1M:1%", 1000), [900, 90, 10]);
        assert_eq!(counts("20:90%,16K:9%,1M:1%", 4096), [3686, 369, 41]);
        assert_eq!(counts("1:99.999%,2:0.001%", 4096), [4095, 1], "the rarest one comes too");
        assert_eq!(counts("1:33.3%,2:33.3%,3:33.4%", 100), [33, 33, 34]);
        assert_eq!(counts("1:50%,2:50%", 3).iter().sum::<usize>(), 3);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, word) in [
            ("20:90%", "90"),
            ("20:50%,30:60%", "110"),
            ("20,30", "no share"),
            ("20:90,30:10", "%"),
            ("20:-5%,30:105%", "share"),
            ("20:0%,30:100%", "share"),
            ("x:100%", "number"),
            ("2G", "1 GiB"),
            ("20:nan%", "share"),
            ("", "number"),
        ] {
            let error = Sizes::parse(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
