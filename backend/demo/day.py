"""The demo day: synthetic people use a running stack for a day, over HTTP only, and the numbers must add up.

Twenty handhelds of one district enter what they see, lose the network, edit the same people and houses, and come back;
citizens report with photos; a supervisor closes cases. It can be played again and again, and through kills of API,
worker and broker: what is lost on the way is sent again, as clients do. The counts are those of the whole system, so
nobody else should work on it meanwhile.
"""

import errno
from contextlib import ExitStack

from rich.console import Console

from backend.core.enums import Role
from backend.demo import ledger
from backend.demo.citizens import NoOwnWechat, Wechat, wechat
from backend.demo.client import Office, Refused, Server, Unreachable
from backend.demo.handheld import NoGrid
from backend.demo.overview import Overview, Restless, look
from backend.demo.people import Day, Plan
from backend.demo.steps import Steps
from backend.demo.table import Done, equations, table
from backend.seed.accounts import demo_logins

REST_BEFORE_SECONDS, REST_AFTER_SECONDS = 60.0, 300.0
MOST_LINES = 20


def play(base_url: str, console: Console, plan: Plan | None = None) -> int:
    """Play the day on the stack at `base_url` and print the table; the exit code is 0 where everything adds up."""
    plan = plan or Plan()
    server = Server(base_url)
    try:
        done, added = _played(server, console, plan)
    except (Unreachable, Refused, Restless, NoGrid, OSError) as error:
        _say(console, f"✗ {_why(error, base_url)}", style="red")
        return 1
    finally:
        server.close()
    return _report(console, plan, done, added)


def _played(server: Server, console: Console, plan: Plan) -> tuple[Done, Overview]:
    """What was done, and what it added to the numbers of the system."""
    server.call("GET", "/health/live", patient=False)
    with ExitStack() as stack:
        office = _supervisor(server)
        platform = _wechat(stack, plan, console)
        steps = stack.enter_context(Steps(console, server))
        steps.rest("等待系统空闲 the system comes to rest", seconds=REST_BEFORE_SECONDS)
        before = look(server, office)
        day = Day(server, office, plan, steps)
        day.enrol()
        day.enter(before)
        day.edit_offline()
        day.come_back(platform)
        steps.rest("核对与立案 checks and cases", seconds=REST_AFTER_SECONDS)
        day.close_cases()
        steps.rest("结果下发 outcomes", seconds=REST_AFTER_SECONDS)
        day.catch_up()
        return day.account(platform), look(server, office).since(before)


def _supervisor(server: Server) -> Office:
    login = next(entry for entry in demo_logins() if entry.role is Role.SUPERVISOR)
    return Office(server, login.login, login.password)


def _wechat(stack: ExitStack, plan: Plan, console: Console) -> Wechat | None:
    try:
        return stack.enter_context(wechat(plan.pictures()))
    except NoOwnWechat:
        _say(
            console,
            "未演示市民上报：本系统连接的是正式公众号，或未配置公众号 · "
            "no citizens are played: this stack talks to a real official account, or to none",
        )
        return None


def _why(error: Exception, url: str) -> str:
    match error:
        case Unreachable():
            return f"{url} 没有响应，请先执行 make run · no answer, make run starts it ({error})"
        case Restless():
            return f"后台任务未能完成 · jobs did not come to an end: {error}"
        case Refused():
            return f"请求被拒绝 · refused: {error}"
        case NoGrid():
            return f"{error} 没有网格，请重新执行 make run · holds no grid now: run make run anew"
        case OSError(errno=errno.EADDRINUSE):
            return "另一场演示正在进行，请等它结束 · another demo day is being played: wait until it has ended"
        case _:
            return f"无法演示 · cannot play: {error}"


def _report(console: Console, plan: Plan, done: Done, added: Overview) -> int:
    """Print the table and each equation; 1 where one does not hold."""
    console.print(table(added))
    checked = list(equations(done, added))
    for equation in checked:
        _say(console, f"{'✓' if equation.holds else '✗'} {equation}", style="green" if equation.holds else "bold red")
    wrong = sum(not equation.holds for equation in checked)
    if not wrong:
        _say(console, f"全部对上 · everything adds up（种子 seed {plan.seed}）")
        return 0
    for line in ledger.surprises(done.accounts)[:MOST_LINES]:
        _say(console, f"  {line}")
    _say(console, f"{wrong} 项对不上 · {wrong} do not add up（种子 seed {plan.seed}）", style="bold red")
    return 1


def _say(console: Console, line: str, *, style: str | None = None) -> None:
    """One line, as it is and however long."""
    console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)
