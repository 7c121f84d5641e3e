"""Putting the commands together.

Belongs here: the list of commands and groups. Does not belong here: their bodies.
"""

import typer

from magpie.cli import backup, content, dev, doctor, leads, memes, metrics, persona, plan, run, spend, sql, videos

app = typer.Typer(
    name="magpie",
    help="Turn public social content into leads, stock mentions, memes, articles and drafts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("run")(run.run)
app.command("ui")(run.ui)
app.command("plan")(plan.plan)
# A query may begin with a comment, which looks like an option.
app.command("sql", context_settings={"ignore_unknown_options": True})(sql.sql)
app.command("doctor")(doctor.doctor)
app.command("metrics")(metrics.metrics)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.add_typer(leads.app, name="leads", help="Reddit posts matched to campaigns, gated and ranked.")
app.add_typer(videos.app, name="videos", help="Finance channels: what was said, which picks hold, what came of them.")
app.add_typer(memes.app, name="memes", help="Memes: reviews, channels, people, and what became of each.")
app.add_typer(
    content.app, name="content", help="Articles: what waits for review, why each is as it is, sending them out."
)
app.add_typer(
    persona.app, name="persona", help="Author bots: drafts to review, moods, why each post is as it is, handing out."
)
app.add_typer(spend.app, name="spend", help="What models have cost, against the caps.")
app.add_typer(spend.breaker_app, name="breaker", help="What is stopped or resting, and setting it free.")
app.add_typer(dev.app, name="dev", help="Rehearse failures without a provider.")
