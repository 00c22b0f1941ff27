"""A man page (man(7)) from the description that swift-argument-parser gives of a program."""

import re


class Malformed(Exception):
    """What should be in the description or in docs/CLI.md is not there."""


def escape(text: str) -> str:
    """Text that roff prints as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    lines = [("\\&" + line) if line[:1] in (".", "'") else line for line in text.split("\n")]
    return "\n".join(lines)


def plain(markdown: str) -> str:
    """Without links and marks."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", markdown)
    return text.replace("`", "").replace("**", "").replace("\\|", "|")


def table(markdown: str, heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, without its title row."""
    parts = re.split(rf"^## {re.escape(heading)}$", markdown, flags=re.MULTILINE)
    if len(parts) != 2:
        raise Malformed(f"docs/CLI.md has no one section {heading}")
    rows = []
    for line in parts[1].split("\n## ")[0].splitlines():
        if line.startswith("|"):
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            rows.append([plain(cell.strip()) for cell in cells])
        elif rows:
            break
    if len(rows) < 3:
        raise Malformed(f"the section {heading} of docs/CLI.md has no table")
    return rows[2:]


def shown(items: list[dict]) -> list[dict]:
    return [item for item in items if item.get("shouldDisplay", True)]


def name_of(argument: dict) -> str:
    """`--key <key>`, `--json`, `<topic> ...`"""
    if argument["kind"] == "positional":
        return f"<{argument['valueName']}>" + (" ..." if argument.get("isRepeating") else "")
    names = [("--" if name["kind"] == "long" else "-") + name["name"] for name in argument["names"]]
    return ", ".join(names) + (f" <{argument['valueName']}>" if argument["kind"] == "option" else "")


def option(argument: dict) -> list[str]:
    text = argument.get("abstract", "")
    default = argument.get("defaultValue")
    if default and argument["kind"] == "option":
        text = f"{text} (default: {default})".strip()
    return [".TP", f".B {escape(name_of(argument))}", escape(text or " ")]


def commands(command: dict, path: str) -> list[tuple[str, dict]]:
    """Those that do something, with their full names."""
    inner = [sub for sub in shown(command.get("subcommands", [])) if sub["commandName"] != "help"]
    if not inner:
        return [(path, command)]
    return [found for sub in inner for found in commands(sub, f"{path} {sub['commandName']}")]


def section(path: str, command: dict) -> list[str]:
    arguments = [a for a in shown(command.get("arguments", [])) if name_of(a) not in ("-h, --help", "--version")]
    positional = " ".join(name_of(a) for a in arguments if a["kind"] == "positional")
    lines = [f".SS {escape(path)}"]
    lines += [escape(f"{path} [options] {positional}".strip()), ".PP", escape(command.get("abstract", ""))]
    for paragraph in (command.get("discussion") or "").split("\n\n"):
        if paragraph:
            lines += [".PP", escape(paragraph)]
    for argument in arguments:
        lines += option(argument)
    return lines


def write(root: dict, version: str, documentation: str) -> str:
    """The page. `documentation` is docs/CLI.md, which has the environment and the exit codes."""
    name = root["commandName"]
    lines = [f'.TH {name.upper()} 1 "" "{name} {version}" "User Commands"']
    lines += [".SH NAME", f"{name} \\- {escape(root['abstract'].rstrip('.'))}"]
    lines += [".SH SYNOPSIS", f".B {name}", "command [options] [arguments]"]
    lines += [".SH COMMANDS"]
    for path, command in commands(root, name):
        lines += section(path, command)
    for title, heading in [("ENVIRONMENT", "Environment"), ("EXIT STATUS", "Exit codes")]:
        lines.append(f".SH {title}")
        for row in table(documentation, heading):
            lines += [".TP", f".B {escape(row[0])}", escape(": ".join(cell for cell in row[1:] if cell))]
    return "\n".join(lines) + "\n"
