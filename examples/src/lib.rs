//! Examples of Sockeye; each is a program in this folder and is compiled by the tests.
