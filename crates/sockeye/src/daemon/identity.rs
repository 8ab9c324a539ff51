//! The user and the groups that a process switches to once it has opened what only root may open.
//!
//! What to know before editing: these are calls of the C library, since the kernel's own change one thread only. Each can
//! fail, and a process that wrongly believes it has dropped its rights is worse than one that exits: everything is
//! read back afterwards.

use std::error::Error;
use std::ffi::CString;
use std::fmt;

use nix::errno::Errno;
use nix::unistd::{
    Gid, Group, Uid, User, getgrouplist, getgroups, getresgid, getresuid, setegid, seteuid, setgroups, setresgid,
    setresuid,
};

/// A user and its groups.
///
/// ```no_run
/// use sockeye::daemon::Identity;
/// use sockeye::{Service, messages};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let identity = Identity::find(Some("www-data"), None)?;
/// let mut service = Service::builder().protocol(messages::echo("echo")).listen("0.0.0.0:80").build()?;
/// identity.assume()?; // after the privileged port is open
/// service.run()?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Identity {
    user: Uid,
    group: Gid,
    /// Sorted, `group` included.
    groups: Vec<Gid>,
}

impl Identity {
    /// Looks up a user and a group, each by name or number. The default group is the user's own; without a user the
    /// present one stays, without any of its other groups.
    ///
    /// # Errors
    /// [`IdentityError::Unknown`], and [`IdentityError::NoGroup`] for a number that no user has, when no group is given.
    pub fn find(user: Option<&str>, group: Option<&str>) -> Result<Self, IdentityError> {
        let known = user.map(find_user).transpose()?;
        let given = group.map(find_group).transpose()?;
        let (uid, name, own) = match known {
            Some(Known { uid, name, group }) => (uid, name, group),
            None => (nix::unistd::geteuid(), None, Some(nix::unistd::getegid())),
        };
        let group = given.or(own).ok_or(IdentityError::NoGroup)?;
        let mut groups = match name {
            Some(name) => getgrouplist(&name, group).map_err(IdentityError::system("its groups cannot be listed"))?,
            None => Vec::new(),
        };
        groups.push(group);
        Ok(Self { user: uid, group, groups: sorted(groups) })
    }

    /// Switches to that user, in all threads and permanently: real, effective and saved ids change, and it is verified
    /// that the process cannot switch back. After an error the process should exit.
    ///
    /// # Errors
    /// [`IdentityError::System`], mostly because the process is not root's; [`IdentityError::Kept`] when it did not help.
    pub fn assume(&self) -> Result<(), IdentityError> {
        // The user last: without root's rights the groups could not be changed any more.
        setgroups(&self.groups).map_err(IdentityError::system("its groups cannot be changed"))?;
        setresgid(self.group, self.group, self.group).map_err(IdentityError::system("its group cannot be changed"))?;
        setresuid(self.user, self.user, self.user).map_err(IdentityError::system("its user cannot be changed"))?;
        self.verify()
    }

    fn verify(&self) -> Result<(), IdentityError> {
        let users = getresuid().map_err(IdentityError::system("its user cannot be read back"))?;
        let groups = getresgid().map_err(IdentityError::system("its group cannot be read back"))?;
        let mut others = getgroups().map_err(IdentityError::system("its groups cannot be read back"))?;
        others.push(self.group);
        if [users.real, users.effective, users.saved] != [self.user; 3]
            || [groups.real, groups.effective, groups.saved] != [self.group; 3]
            || sorted(others) != self.groups
        {
            return Err(IdentityError::Kept);
        }
        // Root may take anything back; for every other user it must fail.
        if !self.user.is_root() && (seteuid(Uid::from_raw(0)).is_ok() || self.can_be_in_group_of_root()) {
            return Err(IdentityError::Kept);
        }
        Ok(())
    }

    fn can_be_in_group_of_root(&self) -> bool {
        self.group.as_raw() != 0 && setegid(Gid::from_raw(0)).is_ok()
    }
}

struct Known {
    uid: Uid,
    /// `None`: a number that no user has.
    name: Option<CString>,
    group: Option<Gid>,
}

fn find_user(text: &str) -> Result<Known, IdentityError> {
    let failed = IdentityError::system("cannot look up users");
    let found = match text.parse() {
        Ok(number) => User::from_uid(Uid::from_raw(number)),
        Err(_) => User::from_name(text),
    };
    if let Some(user) = found.map_err(failed)? {
        let name = CString::new(user.name).ok();
        return Ok(Known { uid: user.uid, name, group: Some(user.gid) });
    }
    let number = text.parse().ok().filter(|number| *number != u32::MAX);
    let uid = number.map(Uid::from_raw).ok_or_else(|| IdentityError::Unknown("user", text.to_owned()))?;
    Ok(Known { uid, name: None, group: None })
}

fn find_group(text: &str) -> Result<Gid, IdentityError> {
    let unknown = || IdentityError::Unknown("group", text.to_owned());
    if let Ok(number) = text.parse() {
        return if number == u32::MAX { Err(unknown()) } else { Ok(Gid::from_raw(number)) };
    }
    let found = Group::from_name(text).map_err(IdentityError::system("cannot look up groups"))?;
    found.map(|group| group.gid).ok_or_else(unknown)
}

fn sorted(mut groups: Vec<Gid>) -> Vec<Gid> {
    groups.sort_by_key(|group| group.as_raw());
    groups.dedup();
    groups
}

/// Why a process could not become another user's.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum IdentityError {
    /// There is no such user, or no such group: which of the two, and what it was called.
    Unknown(&'static str, String),
    /// No user has this number, so it is not known which group to run in.
    NoGroup,
    /// The system does not allow it: what, and its error.
    System(&'static str, std::io::ErrorKind),
    /// It seemed to work, and the process could still have more rights than it should.
    Kept,
}

impl IdentityError {
    fn system(what: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self::System(what, std::io::Error::from(errno).kind())
    }

    /// Whether other arguments would help: there is no such user or group.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown(..) | Self::NoGroup)
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(what, name) => write!(f, "there is no {what} {name:?}"),
            Self::NoGroup => f.write_str("no user has this number, so a group has to be given too"),
            Self::System(what, kind) => write!(f, "{what}: {kind}"),
            Self::Kept => f.write_str("the rights of the user before could not be given up"),
        }
    }
}

impl Error for IdentityError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_found_by_name_and_by_number() {
        let root = Identity::find(Some("root"), None).unwrap();
        assert_eq!((root.user.as_raw(), root.group.as_raw()), (0, 0));
        assert_eq!(Identity::find(Some("0"), None).unwrap().group.as_raw(), 0);
        let mixed = Identity::find(Some("root"), Some("54321")).unwrap();
        assert_eq!(mixed.group.as_raw(), 54321);
        assert!(mixed.groups.contains(&mixed.group));
        let nobody = Identity::find(Some("3999999999"), Some("54321")).unwrap();
        assert_eq!(nobody.groups, [Gid::from_raw(54321)]);
        let group = Identity::find(None, Some("54321")).unwrap();
        assert_eq!((group.user, group.groups.len()), (nix::unistd::geteuid(), 1));
    }

    #[test]
    fn unknown_ones_are_named() {
        for (user, group, text) in [
            (Some("no-such-user"), None, "there is no user \"no-such-user\""),
            (Some("root"), Some("no-such-group"), "there is no group \"no-such-group\""),
            (Some("3999999999"), None, "no user has this number, so a group has to be given too"),
            // It means "leave it as it is" to the system.
            (Some("4294967295"), Some("0"), "there is no user \"4294967295\""),
            (Some("root"), Some("4294967295"), "there is no group \"4294967295\""),
            (Some("nul\0"), None, "there is no user \"nul\\0\""),
            (Some(""), None, "there is no user \"\""),
        ] {
            let error = Identity::find(user, group).unwrap_err();
            assert!(error.is_unknown(), "{error}");
            assert_eq!(error.to_string(), text);
        }
    }
}
