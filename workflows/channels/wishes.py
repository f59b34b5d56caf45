"""What citizens ask of us besides reporting: to agree, to withdraw, to see or to erase what is held about them."""

from sqlmodel import Session

from backend.core.clock import CITY_TIME, now
from backend.core.enums import ConsentAct
from backend.models import Citizen, WechatMessage
from backend.services import consent, erasure_requests, subject_access
from workflows.channels.rules import Wish
from workflows.notify.service import Recipient, RecipientType, tell


def tell_notice(session: Session, citizen: Citizen) -> None:
    """Tell a citizen how his data are used, the first time and after each new version."""
    notice = consent.to_be_told(session, citizen_id=citizen.id)
    if notice is not None:
        values = {"version": notice.version, "text": notice.text_zh}
        _tell(session, citizen, "privacy_notice", key=f"privacy:{notice.version}", **values)


def stopped(session: Session, citizen: Citizen) -> bool:
    """Whether the citizen withdrew his consent; he is told so, once a day."""
    if not consent.is_withdrawn(session, citizen_id=citizen.id):
        return False
    today = now().astimezone(CITY_TIME).date()
    _tell(session, citizen, "consent_missing", key=f"consent_missing:{today}")
    return True


def grant(session: Session, citizen: Citizen, message: WechatMessage, wish: Wish) -> None:
    """Do what a citizen asked for in one message, and say that it was understood."""
    match wish:
        case Wish.AGREE:
            consent.say(session, citizen_id=citizen.id, act=ConsentAct.AGREED)
        case Wish.WITHDRAW:
            consent.say(session, citizen_id=citizen.id, act=ConsentAct.WITHDRAWN)
        case Wish.ERASE:
            erasure_requests.ask_for_citizen(session, citizen_id=citizen.id)
        case Wish.SEE:
            subject_access.ask_for_citizen(session, citizen_id=citizen.id)
    _tell(session, citizen, f"wish_{wish.value}", key=f"wish:{message.id}")


def _tell(session: Session, citizen: Citizen, template: str, *, key: str, **values: object) -> None:
    tell(session, Recipient(RecipientType.CITIZEN, citizen.id), key=key, template=template, values=values)
