"""Reads a Kafka cluster with librdkafka's own consumer (kafka_log.c), without any code of the gateway."""

import pathlib
import subprocess

from crashtest.checker import Logged

SOURCE = pathlib.Path(__file__).resolve().parent / "kafka_log.c"
READ_SECONDS_MAX = 120


def build(folder):
    """Compiles the reader into a folder. Returns its path."""
    program = pathlib.Path(folder) / "kafka_log"
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "rdkafka"], check=True, capture_output=True, text=True
    ).stdout.split()
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, SOURCE, *flags], check=True)
    return program


def read(program, bootstrap_servers, topics, groups):
    """Returns (log, committed): what a read_committed consumer gets, and the groups' committed offsets."""
    command = [program, bootstrap_servers, str(READ_SECONDS_MAX), *topics, "--", *groups]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        raise ValueError(f"the cluster cannot be read: {done.stderr.decode(errors='replace')[-2000:]}")
    return parse(done.stdout)


def parse(output):
    """output: bytes, as kafka_log.c describes them. An output that is cut is an error, not a shorter log."""
    log, committed = [], {}
    position = 0
    while True:
        end = output.find(b"\n", position)
        if end < 0:
            raise ValueError("the output of kafka_log has no end")
        fields = output[position:end].decode().split(" ")
        position = end + 1
        if fields == ["END"] and position == len(output):
            return log, committed
        if fields[0] == "RECORD" and len(fields) == 5:
            content = output[position : position + int(fields[4])]
            position += int(fields[4]) + 1
            if output[position - 1 : position] != b"\n":
                raise ValueError("the output of kafka_log is cut")
            log.append(Logged(fields[1], int(fields[2]), int(fields[3]), content))
        elif fields[0] == "COMMITTED" and len(fields) == 5:
            committed[fields[1], fields[2], int(fields[3])] = int(fields[4])
        else:
            raise ValueError(f"kafka_log says {fields}")
