//! Conformance programs: what the Autobahn suite talks to, and the list of expected results.
