"""The tables and the plot of a report."""

from html import escape
from statistics import median

from lab import MIB

# Row, contender, the contender it is compared with, quantity, and the largest ratio that is allowed and aimed at.
TARGETS = [
    ("save / etcdctl snapshot save, wall", ("http", "save"), ("http", "etcdctl"), "wall", 0.80, 0.73),
    ("the same over mTLS", ("mtls", "save"), ("mtls", "etcdctl"), "wall", 0.90, 0.82),
    ("save / receive and discard, wall", ("http", "save"), ("http", "receive and discard"), "wall", 1.50, 1.37),
    ("the same over mTLS", ("mtls", "save"), ("mtls", "receive and discard"), "wall", 1.50, 1.37),
    ("save / etcdctl, CPU", ("http", "save"), ("http", "etcdctl"), "cpu", 1.20, 1.10),
    ("the same over mTLS", ("mtls", "save"), ("mtls", "etcdctl"), "cpu", 1.20, 1.10),
    ("save / etcdctl, then openssl enc, wall", ("http", "save"), ("http", "etcdctl, openssl enc"), "wall", None, None),
    ("save / etcdctl, then zstd | age, wall", ("http", "save"), ("http", "etcdctl, zstd | age"), "wall", None, None),
    ("save --from / openssl + zstd + age, wall", ("file", "save --from"), ("file", "openssl + zstd + age"), "wall", 0.55, 0.45),
    ("verify -i / age | zstd | openssl, wall", ("verify", "verify -i"), ("verify", "age | zstd | openssl"), "wall", 0.60, 0.55),
    ("restore -o / the same into a synced file, wall", ("restore", "restore -o"), ("restore", "age | zstd | openssl"), "wall", 0.90, 0.75),
    ("restore --data-dir / age | zstd, then etcdutl, wall", ("member", "restore --data-dir"), ("member", "age | zstd, etcdutl"), "wall", 0.60, None),
    ("save at 20 ms round trip / at 0 ms, wall", ("link", "save, 20 ms"), ("link", "save, 0 ms"), "wall", 1.15, None),
    ("save at 80 ms round trip / at 0 ms, wall", ("link", "save, 80 ms"), ("link", "save, 0 ms"), "wall", 1.15, None),
    ("save / etcdctl at 20 ms, wall", ("link", "save, 20 ms"), ("link", "etcdctl, 20 ms"), "wall", 1.00, None),
    ("save / etcdctl at 80 ms, wall", ("link", "save, 80 ms"), ("link", "etcdctl, 80 ms"), "wall", 1.00, None),
    ("start to first byte / etcdctl's, plain HTTP", ("start, http", "save"), ("start, http", "etcdctl"), "wall", 1.50, 1.00),
    ("start to first byte / etcdctl's, mTLS", ("start, mtls", "save"), ("start, mtls", "etcdctl"), "wall", 1.50, 1.00),
]
# Peak resident memory in MiB: contender, limit, aim.
MEMORY = [
    (("http", "save"), 96, 64), (("mtls", "save"), 96, 64), (("file", "save --from"), 96, 64),
    (("verify", "verify -i"), 96, 64), (("restore", "restore -o"), 96, 64),
    (("member", "restore --data-dir"), 256, None),
    (("link", "save, 20 ms"), 128, None), (("link", "save, 80 ms"), 128, None),
]


# Seconds from a signal to the end of the process in the worst run: limit, aim.
CANCEL = (0.2, None)


def middle(runs, quantity):
    return median(getattr(run, quantity) for run in runs)


def paired(ours, theirs, quantity):
    """The median of the ratios of each round: a disturbance of a round disturbs both."""
    return median(getattr(a, quantity) / getattr(b, quantity) for a, b in zip(ours, theirs))


def table(head, rows):
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines) + "\n"


def contenders(results):
    """The medians of every contender."""
    rows = []
    for (group, name), runs in results.items():
        unit = (1000, "ms") if group.startswith(("start", "cancel")) else (1, "s")
        rows.append([
            group, name, f"{middle(runs, 'wall') * unit[0]:.{2 if unit[0] == 1 else 1}f} {unit[1]}",
            f"{min(run.wall for run in runs) * unit[0]:.2f}–{max(run.wall for run in runs) * unit[0]:.2f}",
            f"{middle(runs, 'cpu'):.2f}", f"{max(run.memory for run in runs) / MIB:.0f}",
            f"{middle(runs, 'server'):.2f}" if any(run.server for run in runs) else "",
            f"{middle(runs, 'stream'):.2f}" if any(run.stream for run in runs) else "",
        ])
    return table(["row", "contender", "wall", "range", "CPU s", "peak MiB", "etcd's CPU s", "stream open s"], rows)


def verdict(value, must, aim):
    if must is None:
        return ""
    if value > must:
        return "MISSED"
    return "aim" if aim is not None and value <= aim else "must"


def targets(results):
    """Ratios beside their limits."""
    rows = []
    for title, ours, theirs, quantity, must, aim in TARGETS:
        if ours in results and theirs in results:
            value = paired(results[ours], results[theirs], quantity)
            rows.append([title, f"{value:.2f}", limit(must), limit(aim), verdict(value, must, aim)])
    for who, must, aim in MEMORY:
        if who in results:
            value = max(run.memory for run in results[who]) / MIB
            rows.append([f"peak memory of {who[1]} ({who[0]}), MiB", f"{value:.0f}", limit(must), limit(aim),
                         verdict(value, must, aim)])
    for (group, name), runs in results.items():
        if group == "cancel":
            value = max(run.wall for run in runs)
            rows.append([f"{name}: signal to exit, worst of {len(runs)}, s", f"{value:.3f}", limit(CANCEL[0]),
                         limit(CANCEL[1]), verdict(value, *CANCEL)])
    return table(["measure", "is", "must be at most", "aim", "reached"], rows)


def limit(value):
    return "" if value is None else f"{value:g}"


def growth(by_size):
    """Wall time per byte, and memory, from the smallest size of at least 600 MB to the largest."""
    sizes = sorted(size for size in by_size if size >= 600_000_000)
    if len(sizes) < 2:
        return ""
    small, large = by_size[sizes[0]], by_size[sizes[-1]]
    rows = []
    for who, _, _ in MEMORY:
        if who in small and who in large:
            wall = (middle(large[who], "wall") / sizes[-1]) / (middle(small[who], "wall") / sizes[0])
            memory = max(r.memory for r in large[who]) / max(r.memory for r in small[who])
            name = f"{who[1]} ({who[0]})"
            rows.append([f"{name}, wall per byte", f"{wall:.2f}", "1.1", "", verdict(wall, 1.1, None)])
            rows.append([f"{name}, memory", f"{memory:.2f}", "1.1", "", verdict(memory, 1.1, None)])
    head = f"{sizes[-1] / 1e6:.0f} MB / {sizes[0] / 1e6:.0f} MB"
    return table([head, "is", "must be at most", "aim", "reached"], rows)


PLOTTED = [
    (("http", "receive and discard"), "#999999"), (("http", "etcdctl"), "#1f77b4"),
    (("http", "etcdctl, zstd | age"), "#2ca02c"), (("http", "etcdctl, openssl enc"), "#9467bd"),
    (("http", "save"), "#d62728"),
]


def plot(by_size, caption):
    """Plots wall time and memory over size; all axes begin at zero."""
    def seconds(runs):
        return middle(runs, "wall")

    def mebibytes(runs):
        return max(run.memory for run in runs) / MIB

    panels = panel(by_size, 60, "seconds", seconds) + panel(by_size, 560, "peak MiB, largest process", mebibytes)
    legend = "".join(
        f'<rect x="{60 + 190 * place}" y="398" width="12" height="12" fill="{colour}"/>'
        f'<text x="{78 + 190 * place}" y="409">{who[1]}</text>'
        for place, (who, colour) in enumerate(PLOTTED))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="1040" height="450" font-family="sans-serif" font-size="13">\n'
        '<rect width="1040" height="450" fill="white"/>\n'
        f'{panels}{legend}\n<text x="60" y="436" fill="#666" font-size="10">{escape(caption)}</text>\n</svg>\n')


def panel(by_size, left, title, quantity, width=420, height=300, top=40):
    series = [
        (colour, [(size / 1e6, quantity(results[who])) for size, results in sorted(by_size.items()) if who in results])
        for who, colour in PLOTTED]
    widest = round_up(max(x for _, points in series for x, _ in points))
    highest = round_up(max(y for _, points in series for _, y in points))

    def at(x, y):
        return f"{left + x / widest * width:.1f},{top + height - y / highest * height:.1f}"

    parts = [f'<text x="{left}" y="{top - 14}">{title}</text>']
    for step in range(5):
        x, y = widest * step / 4, highest * step / 4
        (x_at, _), (_, y_at) = at(x, 0).split(","), at(0, y).split(",")
        parts.append(f'<path d="M{at(0, y)} H{left + width}" stroke="#ddd"/>'
                     f'<text x="{left - 6}" y="{y_at}" text-anchor="end">{y:g}</text>'
                     f'<text x="{x_at}" y="{top + height + 20}" text-anchor="middle">{x:g}</text>')
    parts.append(f'<text x="{left + width}" y="{top + height + 38}" text-anchor="end">MB of snapshot</text>')
    for colour, points in series:
        line = " ".join(at(x, y) for x, y in points)
        dots = "".join('<circle cx="{}" cy="{}" r="3" fill="{}"/>'.format(*at(x, y).split(","), colour) for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}')
    return "\n".join(parts) + "\n"


def round_up(value):
    """Rounds up to the next 1, 2, 4 or 8 times a power of ten."""
    scale = 1.0
    while scale * 10 <= value:
        scale *= 10
    while scale > value:
        scale /= 10
    return next(scale * step for step in (1, 2, 4, 8, 10) if scale * step >= value)
