"""The man page: what is in it, that roff takes it, and that docs/CLI.md has every exit code of the program."""

import pathlib
import re
import shutil
import subprocess
import unittest

from manpage import page

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

TOOL = {
    "commandName": "tool",
    "abstract": "Does things.",
    "subcommands": [
        {"commandName": "help", "abstract": "Help."},
        {
            "commandName": "many",
            "subcommands": [
                {
                    "commandName": "do",
                    "abstract": "Do it.",
                    "discussion": "First.\n\n.Second \\t -x",
                    "arguments": [
                        {"kind": "positional", "valueName": "thing", "isRepeating": True, "abstract": "Which."},
                        {
                            "kind": "option",
                            "valueName": "n",
                            "names": [{"kind": "short", "name": "n"}, {"kind": "long", "name": "number"}],
                            "abstract": "How many.",
                            "defaultValue": "3",
                        },
                        {
                            "kind": "flag",
                            "valueName": "json",
                            "names": [{"kind": "long", "name": "json"}],
                            "defaultValue": "false",
                        },
                        {
                            "kind": "flag",
                            "names": [{"kind": "long", "name": "secret"}],
                            "shouldDisplay": False,
                        },
                    ],
                },
            ],
        },
    ],
}
TABLES = (
    "## Environment\n\n| variable | means |\n|---|---|\n| `A_URL` | [where](x.md) |\n\n"
    "## Exit codes\n\n| code | means | do |\n|---|---|---|\n| 0 | done | |\n| 1 | a \\| b | read |\n\n"
    "more\n\n| 9 | no |\n"
)


class PageTest(unittest.TestCase):
    def test_page_has_every_command_with_its_options(self):
        text = page.write(TOOL, "1.2", TABLES)
        self.assertIn('.TH TOOL 1 "" "tool 1.2"', text)
        self.assertIn(".SS tool many do\n", text)
        self.assertIn(".B <thing> ...\nWhich.\n", text)
        self.assertIn(".B \\-n, \\-\\-number <n>\nHow many. (default: 3)\n", text)
        self.assertIn(".B \\-\\-json\n", text)
        self.assertIn("\\&.Second \\et \\-x\n", text)
        self.assertIn(".B A_URL\nwhere\n", text)
        self.assertIn(".B 1\na | b: read\n", text)
        for absent in ["secret", "tool help", "default: false", ".B 9"]:
            self.assertNotIn(absent, text)

    def test_a_missing_section_is_an_error(self):
        for documentation in ["", TABLES.replace("## Exit codes", "## Exit"), TABLES.replace("|", "")]:
            with self.assertRaises(page.Malformed):
                page.write(TOOL, "1.2", documentation)

    @unittest.skipUnless(shutil.which("groff"), "there is no groff here")
    def test_roff_takes_it_without_a_warning(self):
        text = page.write(TOOL, "1.2", (ROOT / "docs/CLI.md").read_text())
        found = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z"], input=text, capture_output=True, text=True)
        self.assertEqual((found.returncode, found.stderr), (0, ""))

    def test_documentation_has_every_exit_code(self):
        codes = {"64"}
        for file in ["Sources/Gateway/ExitReason.swift", "Sources/postrider/ConnectionOptions.swift"]:
            found = re.findall(r"^    case \w+ = (\d+)$", (ROOT / file).read_text(), flags=re.MULTILINE)
            self.assertGreater(len(found), 3, file)
            codes.update(found)
        rows = page.table((ROOT / "docs/CLI.md").read_text(), "Exit codes")
        documented = {code for row in rows for code in row[0].split(", ")}
        self.assertEqual(documented - {"128 + n"}, codes)


if __name__ == "__main__":
    unittest.main()
