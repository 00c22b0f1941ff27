"""What goes into a package, and that its parts fit the program's own rules."""

import gzip
import pathlib
import re
import tarfile
import tempfile
import unittest

from packages import contents, debian, lifecycle, tarball, unit

REFERENCE = """# Settings.
# Where everything is.
#data_dir: ./data

http:
  # Where to listen.
  #listen: 127.0.0.1:8080
broker:
  #kind: embedded
  kafka:
    #format: none

log:
  #level: info
  # auto, people or json
  #format: auto
"""


class ProgramStandIn:
    version = "1.2.3"
    stripped = b"program"

    def reference(self):
        return REFERENCE

    def completion(self, shell):
        return f"of {shell}\n"

    def man_page(self):
        return ".TH POSTRIDER 1\n"


def checkouts(folder):
    (folder / "swift-log").mkdir()
    (folder / "swift-log/NOTICE.txt").write_text("hand this on")
    return folder


class Contents(unittest.TestCase):
    def entries(self, layout):
        with tempfile.TemporaryDirectory() as folder:
            return contents.entries(ProgramStandIn(), layout, checkouts(pathlib.Path(folder)))

    def test_configuration_sets_what_is_behind_a_number_sign_in_its_section(self):
        text = contents.configuration(REFERENCE, {"data_dir": "/srv", "log.format": "json"})
        expected = REFERENCE.replace("#data_dir: ./data", "data_dir: /srv").replace("#format: auto", "format: json")
        self.assertEqual(text, expected)

    def test_configuration_refuses_a_setting_that_is_gone(self):
        with self.assertRaisesRegex(contents.Failed, "log.shape"):
            contents.configuration(REFERENCE, {"log.shape": "round"})

    def test_entries_are_sorted_and_each_is_there_once_in_both_layouts(self):
        for layout in (contents.DEBIAN, contents.LOCAL):
            paths = [entry.path for entry in self.entries(layout)]
            self.assertEqual(paths, sorted(set(paths)))
            self.assertIn(f"{layout.prefix}/bin/postrider", paths)
            self.assertIn(f"{layout.prefix}/share/doc/postrider/docs/OPERATIONS.md", paths)

    def test_unit_names_the_program_and_the_settings_of_its_layout(self):
        for layout in (contents.DEBIAN, contents.LOCAL):
            parsed = unit.Unit(contents.unit(layout))
            self.assertEqual(
                parsed.command(),
                [f"{layout.prefix}/bin/postrider", "serve", "--config", f"{layout.etc}/postrider/postrider.yaml"],
            )
            self.assertNotIn("@", contents.unit(layout).replace("@system-service", ""))

    def test_notices_are_of_every_package_and_required(self):
        with tempfile.TemporaryDirectory() as folder:
            with self.assertRaises(contents.Failed):
                contents.notices(pathlib.Path(folder))
            self.assertIn(b"hand this on", contents.notices(checkouts(pathlib.Path(folder))))

    def test_needed_reads_the_libraries(self):
        line = " 0x0000000000000001 (NEEDED)             Shared library: [libswiftCore.so]\n"
        self.assertEqual(contents.needed(line), ["libswiftCore.so"])

    def test_tarball_has_the_same_bytes_twice_and_belongs_to_root(self):
        entries = self.entries(contents.LOCAL)
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            first = tarball.build(entries, "1.2.3", "x86_64", 1_700_000_000, folder).read_bytes()
            archive = tarball.build(entries, "1.2.3", "x86_64", 1_700_000_000, folder)
            self.assertEqual(first, archive.read_bytes())
            with tarfile.open(archive) as tar:
                members = tar.getmembers()
        names = [member.name for member in members]
        self.assertIn("postrider-1.2.3/bin/postrider", names)
        self.assertIn("postrider-1.2.3/etc/postrider/postrider.yaml", names)
        self.assertEqual(len(names), len(set(names)))
        for member in members:
            self.assertEqual((member.uid, member.gid, member.mtime), (0, 0, 1_700_000_000))
            # Its folder comes before it.
            parent = str(pathlib.PurePosixPath(member.name).parent)
            self.assertTrue(parent == "." or names.index(parent) < names.index(member.name), member.name)


class Unit(unittest.TestCase):
    parsed = unit.Unit(contents.unit(contents.DEBIAN))

    def test_exit_codes_that_are_not_tried_again_are_of_the_program_and_never_of_a_failed_sync(self):
        source = (contents.ROOT / "Sources/Gateway/ExitReason.swift").read_text()
        reasons = dict(re.findall(r"case (\w+) = (\d+)", source))
        codes = self.parsed.one("RestartPreventExitStatus").split()
        # EX_USAGE.
        named = {reasons[name] for name in ("spoolCorrupt", "spoolOwnedElsewhere", "brokerFatal")} | {"64"}
        self.assertEqual(set(codes), named)
        self.assertNotIn(reasons["diskFailed"], codes)

    def test_time_to_stop_is_longer_than_the_program_gives_itself(self):
        text = (contents.ROOT / "docs/CONFIGURATION.md").read_text()

        def seconds(setting):
            default = re.search(rf"^\| `{re.escape(setting)}` \| `(\d+)(ms|s|m)` \|", text, re.MULTILINE)
            return int(default[1]) * {"ms": 0.001, "s": 1, "m": 60}[default[2]]

        names = ("http.drain_delay", "http.stop_timeout", "forwarder.drain_timeout", "spool.sync_timeout")
        self.assertGreater(self.parsed.number("TimeoutStopSec"), sum(map(seconds, names)) + 30)

    def test_calls_of_groups_are_spread(self):
        groups = unit.groups("@a\n    # Said of it.\n    @b\n    read\n\n@b\n    write\n")
        self.assertEqual(unit.spread(["@a", "open"], groups), {"read", "write", "open"})

    def test_summary_of_strace_is_read(self):
        table = (
            "% time     seconds  usecs/call     calls    errors syscall\n"
            "------ ----------- ----------- --------- --------- ----------------\n"
            " 99.00    0.100000          10         3         1 futex\n"
            "  0.00    0.000000           0         2           pwrite64\n"
            "100.00    0.100000          10         5         1 total\n"
        )
        self.assertEqual(unit.used_calls(table), {"futex", "pwrite64"})


class Debian(unittest.TestCase):
    def test_control_has_no_open_place(self):
        names = ["VERSION", "ARCHITECTURE", "MAINTAINER", "INSTALLED_KIB", "DEPENDS"]
        text = debian.control({name: "x" for name in names})
        self.assertNotIn("@", text)
        self.assertIn("\nDepends: x, adduser", text)

    def test_changelog_has_the_form_of_debian(self):
        text = gzip.decompress(debian.changelog("1.2.3", "A <a@b.example>", 1_700_000_000)).decode()
        self.assertRegex(text, r"^postrider \(1\.2\.3\) \w+; urgency=\w+\n\n  \* .+\n\n -- A <a@b\.example>  \w{3}, ")

    def test_scripts_never_remove_what_was_promised(self):
        for name in debian.SCRIPTS:
            text = (debian.SOURCES / name).read_text()
            self.assertNotRegex(text, r"rm\s+-\w*r|deluser|userdel", name)


class Lifecycle(unittest.TestCase):
    def test_tree_sees_a_file_that_is_gone_or_shorter(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "spool").mkdir()
            (folder / "spool/1.seg").write_text("abc")
            self.assertEqual(lifecycle.tree(folder), {"spool/1.seg": 3})


if __name__ == "__main__":
    unittest.main()
