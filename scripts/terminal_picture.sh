#!/usr/bin/env bash
# Captures the terminal some seconds into a command, as an SVG.
#
#     scripts/terminal_picture.sh OUT.svg SECONDS WIDTHxHEIGHT COMMAND...
#
# Needs tmux, and Python with the package rich. The command keeps running until it ends by itself.
set -euo pipefail
[ $# -ge 4 ] || { echo "usage: $0 OUT.svg SECONDS WIDTHxHEIGHT COMMAND..." >&2; exit 2; }
out=$1 seconds=$2 size=$3
shift 3
session="picture-$$"
tmux new-session -d -s "$session" -x "${size%x*}" -y "${size#*x}" "$@"
sleep "$seconds"
tmux capture-pane -p -e -t "$session" | ${PYTHON:-python3} -c '
import io, re, sys
from rich.console import Console
from rich.text import Text

out, width, title = sys.argv[1], int(sys.argv[2]), sys.argv[3]
console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
console.print(Text.from_ansi(sys.stdin.read().rstrip()))
svg = console.export_svg(title=title)
# Uses fonts that are installed; downloads none.
svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.S).replace("Fira Code", "monospace")
open(out, "w").write(svg)
' "$out" "${size%x*}" "$*"
echo "$out shows: $*"
