"""Report: one page that shows a set of conversations to somebody without a notebook."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from markupsafe import Markup

from convai_lab.analysis.dataframes import conversations_df, each_conversation, turns_df
from convai_lab.analysis.plots import description, plot_latency, plot_timeline, plot_waterfall
from convai_lab.conversations.conversation import Conversation
from convai_lab.conversations.cost import dollars
from convai_lab.conversations.transcript import transcript_html
from convai_lab.errors import InvalidValueError

SUMMARY_COLUMNS = ("agent", "platform", "channel", "n_turns", "duration_secs", "llm_ttft_p50_ms", "cost_usd", "success")
DOTS_PER_INCH = 110
NOT_KNOWN = {"success": "not judged", "cost_usd": "unknown"}
"""What a missing value means, where that is not that nobody measured it."""

PAGE = Markup(
    """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #212529;
  background: #fff; }}
table {{ border-collapse: collapse; }}
th, td {{ text-align: left; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid #dee2e6; vertical-align: top; }}
img {{ max-width: 100%; }}
figcaption {{ color: #495057; font-size: .9rem; }}
</style></head><body>
<h1>{title}</h1>
{sections}
</body></html>
"""
)


def write_report(conversations: Any, folder: Path, *, title: str = "Conversations") -> Path:
    """Write `report.html`, its plots as PNG files and the turns as Parquet into `folder`; return the page's path.

    The page stands alone: no scripts, no network, plots inside it with a text alternative.

    Args:
        conversations: One conversation or several.
        folder: Made when absent; files of an earlier report in it are replaced.
        title: The heading of the page.

    Raises:
        InvalidValueError: There is no conversation, or the folder cannot be written.
    """
    found = list(each_conversation(conversations))
    if not found:
        raise InvalidValueError("there is nothing to report", field="conversations")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        turns_df(found).to_parquet(folder / "turns.parquet", index=False)
        sections = [_summary(found), *_figures(found, folder), *(_transcript(one) for one in found)]
        page = folder / "report.html"
        page.write_text(PAGE.format(title=title, sections=Markup("\n").join(sections)), encoding="utf-8")
    except OSError as error:
        raise InvalidValueError(f"cannot write into {folder}: {error.strerror}", field="folder") from None
    return page


def _summary(conversations: list[Conversation]) -> Markup:
    table = conversations_df(conversations)[["id", *SUMMARY_COLUMNS]]
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(name.replace("_", " ")) for name in table.columns)
    rows = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(Markup("<td>{}</td>").format(_cell(*cell)) for cell in row.items())
        )
        for row in table.to_dict(orient="records")
    )
    return Markup("<h2>Summary</h2><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>").format(head, rows)


def _cell(column: Any, value: Any) -> str:
    import pandas as pd

    if pd.isna(value):
        return NOT_KNOWN.get(column, "not measured")
    if not isinstance(value, float):
        return str(value)
    if column == "cost_usd":
        return dollars(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _figures(conversations: list[Conversation], folder: Path) -> Iterable[Markup]:
    wanted: tuple[tuple[str, Callable[..., Any], Any], ...] = (
        ("latency", plot_latency, conversations),
        ("waterfall", plot_waterfall, conversations[0]),
        ("timeline", plot_timeline, conversations[0]),
    )
    for name, plot, what in wanted:
        try:
            yield _figure(plot(what), folder / f"{name}.png")
        except InvalidValueError as nothing:
            yield Markup("<p>No {}: {}</p>").format(name, str(nothing))


def _figure(ax: Any, path: Path) -> Markup:
    from matplotlib import pyplot as plt

    ax.figure.savefig(path, dpi=DOTS_PER_INCH)
    plt.close(ax.figure)
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return Markup('<figure><img src="data:image/png;base64,{}" alt="{}"><figcaption>{}</figcaption></figure>').format(
        data, description(ax), description(ax)
    )


def _transcript(conversation: Conversation) -> Markup:
    name = conversation.agent_name or conversation.agent_id
    return Markup("<h2>{}</h2>{}").format(f"{name}: {conversation.id}", Markup(transcript_html(conversation)))  # noqa: S704 - escaped where it is made
