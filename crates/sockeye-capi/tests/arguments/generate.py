"""Writes a C function that calls each export of a library with each argument wrong, one at a time: null pointers, memory of the program in
place of handles, numbers that are none of their kind. The other arguments are good.

    generate.py LIST HEADERS.. > calls.inc

LIST has the names of the exports. What they take is what gcc says of <libwebsockets.h>, found by HEADERS, which are its options. See
calls13.c and calls17.c, which include what is written.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

# What stands for a good argument of a type, and for a bad one beside a null pointer. Only handles are looked up; what any other pointer
# means is between the program and its header.
HANDLES = {
    "struct lws *": "wsi", "struct libwebsocket *": "wsi",
    "struct lws_context *": "context", "struct libwebsocket_context *": "context",
    "struct lws_vhost *": "vhost",
    "struct lws_protocols *": "protocols", "struct libwebsocket_protocols *": "protocols",
}
GOOD = {
    "char *": "text", "unsigned char *": "text", "uint8_t *": "text", "void *": "text",
    "unsigned char **": "&cursor", "char **": "&pointer", "int *": "&number", "uint32_t *": "&tail",
    "struct lws_ring *": "ring", "struct pollfd *": "&unknown", "lws_sorted_usec_list_t *": "&timer",
    "struct lws_dll2 *": "&timer.list", "struct sockaddr_in *": "(void *)blank",
    "struct lws_context_creation_info *": "&creation", "struct lws_client_connect_info *": "&connecting",
    "struct lws_extension *": "(void *)blank", "struct libwebsocket_extension *": "(void *)blank",
}
# A length that is a lie is not refused: it says how much there is. Those that no memory has are.
NUMBERS = {
    "int": ("0", "-1", "INT_MIN"), "unsigned int": ("0", "UINT_MAX"), "size_t": ("0", "SIZE_MAX"), "uint32_t": ("0", "UINT32_MAX"),
    "lws_usec_t": ("0", "-1", "INT64_MIN", "INT64_MAX"), "lws_filepos_t": ("0", "UINT64_MAX"),
}
ENUMS = ("0", "-1", "12345", "INT_MAX", "INT_MIN")
# Their whole effect is beyond a call: they wait, end or leave the process, or take any number for a descriptor.
LEFT_OUT = {
    "lws_daemonize": "it leaves the process; see daemonizing.c",
    "_lws_logv": "its last argument is a list of arguments",
}
# An argument of a call, from 0, and what it is instead.
SPECIAL = {
    ("lws_service", 1): ("-1",), ("libwebsocket_service", 1): ("0",), ("lws_service_tsi", 1): ("-1",), ("lws_service_tsi", 2): ("0",),
    ("libwebsockets_hangup_on_client", 1): ("-1", "INT_MAX", "INT_MIN"),
    # Lengths of what the other texts are compared with, and copied to.
    ("lws_strncpy", 2): ("0",), ("lws_snprintf", 1): ("0",), ("lws_explicit_bzero", 1): ("0",), ("lws_timingsafe_bcmp", 2): ("0",),
    ("lws_nstrstr", 1): ("0",), ("lws_nstrstr", 3): ("0",), ("lws_ring_consume", 3): ("0",), ("lws_close_reason", 3): ("0",),
    ("lws_interface_to_sa", 3): ("0",),
}
# What a good number of another kind would do harm.
CHOSEN = {("libwebsockets_hangup_on_client", 1): "-1"}
# The ends of contexts are what the whole would not survive.
NO_GOOD = {"lws_context_destroy", "libwebsocket_context_destroy"}


def prototypes(options):
    """The arguments of each function of the header, by name."""
    with tempfile.TemporaryDirectory() as folder:
        source, found = pathlib.Path(folder, "all.c"), pathlib.Path(folder, "all.txt")
        source.write_text("#include <libwebsockets.h>\n")
        subprocess.run(["gcc", *options, "-aux-info", found, "-fsyntax-only", source], check=True)
        functions = {}
        for line in found.read_text().splitlines():
            match = re.search(r"extern .*?(\w+) \((.*)\);$", line)
            if match and "libwebsockets" in line.split("*/")[0]:
                functions[match[1]] = arguments_of(match[2])
        return functions


def arguments_of(text):
    parts, depth = [""], 0
    for character in text:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip() not in ("void", "")]


def good(name, at, kind):
    if (name, at) in CHOSEN:
        return CHOSEN[name, at]
    plain = kind.replace("const ", "")
    if plain in HANDLES or plain in GOOD:
        return HANDLES.get(plain) or GOOD[plain]
    if plain.startswith("enum ") or plain in NUMBERS:
        return "4" if plain == "size_t" else "1"
    if "(*)" in plain or plain == "sul_cb_t":
        return "NULL"
    raise SystemExit(f"generate.py does not know the type {kind}")


def bad(name, at, kind):
    plain = kind.replace("const ", "")
    if (name, at) in SPECIAL:
        return SPECIAL[name, at]
    if plain in HANDLES:
        return ("NULL", "(void *)blank")
    if plain.startswith("enum "):
        return ENUMS
    return NUMBERS.get(plain, ("NULL",))


def main():
    functions = prototypes(sys.argv[2:])
    print("static void each_call(void)\n{")
    for name in pathlib.Path(sys.argv[1]).read_text().split():
        if name in LEFT_OUT or name not in functions:
            if name not in LEFT_OUT and not name.startswith(("humanize_", "lws_sys_", "libwebsocket_internal_")):
                print(f"    /* {name} is in no header. */")
            continue
        kinds = [kind for kind in functions[name] if kind != "..."]
        calls = [] if name in NO_GOOD else [("good", [good(name, at, kind) for at, kind in enumerate(kinds)])]
        for at, kind in enumerate(kinds):
            for value in bad(name, at, kind):
                words = [good(name, at, kind) for at, kind in enumerate(kinds)]
                words[at] = f"({kind})({value})" if "(*)" not in kind else value
                calls.append((f"argument {at + 1}: {value}", words))
        for what, words in calls:
            print(f'    ready("{name}, {what}");\n    OF(({name}({", ".join(words)})));')
    print("}")


main()
