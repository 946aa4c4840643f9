"""Every limit, in one table: sizes in octets unless the name says otherwise (promises F.1).

A portal home may only lower them (`[limits]` in portal.toml, by the names in `LOWERABLE`).
"""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

# Mail that is accepted and parsed.
MESSAGE = 72 * MIB
HEADERS = 256 * KIB  # all headers of one message together
HEADER = 8 * KIB  # one header that is parsed; longer ones are cut before decoding
PARTS_LISTED = 1_000
PARTS_TRUSTED = 250  # more: held for administrators as Suspicious Message Structure
MIME_DEPTH = 20
TEXT_SHOWN = 1 * MIB  # of one text part, in a preview

# Search.
SEARCHED_TEXT = 256 * KIB  # of a message's body, by which it is found
SEARCH_TEXT = 4 * KIB  # characters of what is searched for
SEARCH_TERMS = 100  # words and phrases of one search
SEARCH_QUERY = 64 * KIB  # characters of a query in XML
SEARCH_HOURS = 24  # for which the later pages of a ranked search are kept
SEARCHES_KEPT = 50  # of one person; the oldest are let go
SEARCH_ADDRESSES = 100  # senders, or recipients, that one names

# HTML that is shown.
HTML = 1 * MIB
HTML_DEPTH = 200
INLINE_IMAGE = 5 * MIB  # one cid: image put into a page
INLINE_IMAGES = 20 * MIB  # of all of them in one page, each as often as it is shown

# Patterns of filters and hold rules.
PATTERN = 1_000  # characters
PATTERN_PROGRAM = 3_000  # instructions that google-re2 may make of one
PATTERN_MEMORY = 8 * MIB

# Writing mail.
UPLOAD = 51 * MIB  # one uploaded file; all attachments of one message together
RECIPIENTS = 250  # of one message: To, Cc and Bcc
SENT_AT_ONCE = 500  # messages in one send-email
SUBJECT = 1_000  # characters of one header that is written: encoded, no more than is read of one
EXTRA_HEADERS = 50  # of one message, beside those that we write
INLINE_BODY = 256 * KIB  # of text in a request; longer texts are uploaded first
UPLOAD_HOURS = 24  # that an upload is kept, unless a draft names it
ATTACHMENTS = 200  # of one message: fewer than make it suspicious
DRAFTS = 500  # of one person
BOUNCE_DAYS = 30  # for which mail that people write can bounce to its return path
BOUNCES = 1_000  # of one message at the most

# Requests.
JSON_BODY = 1 * MIB
JSON_DEPTH = 32
OPAQUE_TOKEN = 4 * KIB  # an id or page token, also once inflated
PAGE_SIZE = 500  # rows of one page at the most
DEFAULT_PAGE_SIZE = 100
TOTAL_COUNTED = 10_000  # above, totalCount is left out
STATES_ASKED = 500  # ids in one holds.states
REPORT_ROWS = 10_000  # of a report in one answer
REPORT_DAYS = 3_700  # of one report
REQUEST_ID = 64  # characters of an id that a client gives a request which creates something

LENIENT_BODY = 64 * KIB  # of a body that is no JSON but can be read as what its sender meant
FORM_FIELDS = 50
QUOTA = 800  # calls of one caller within QUOTA_SECONDS
QUOTA_SECONDS = 5
UNKNOWN_QUOTA = 5_000  # the same, of a network whose callers are not known
HTTP_CONNECTIONS = 1_000  # open at once
HTTP_CONNECTIONS_FROM_ONE = 500  # of them from one network
HTTP_HEAD = 64 * KIB  # request line and headers; what comes between or behind the octets of a body
HTTP_IN_FLIGHT = 256 * MIB  # of all bodies that are being read or answered, half of it from one network
HTTP_SECONDS = 60  # for a request's headers, for its body, and for each piece of an answer to be taken
HTTP_THREADS = 8
LAB_REQUESTS = 100_000  # remembered by the lab; the oldest are let go
DOWNLOAD_SECONDS = 300  # how long a download URL is good for

# Pages.
PAGE_FORM = 51 * MIB  # a form with files: attachments, and what else stands in it
PAGE_FIELDS = 1_000  # of one form
PAGE_FILES = 100
PAGE_FILES_SECONDS = 900  # for a form with files to arrive
PAGE_FILES_DRAINED = 256 * MIB  # read of a form with too large files, so that the browser shows why it is refused
SESSION_HOURS = 8  # unless portal.toml says otherwise
BROWSER_DAYS = 180  # for which a browser counts as one that logged in before

# Logging in (promises E.3).
PASSWORD_SHORTEST = 8  # characters
PASSWORD_LONGEST = 128
PASSWORD_CLASSES = 3  # of: capitals, small letters, digits, other signs
BINDING_HOURS = 12
TOKEN_SECONDS = 1_799
LOCK_FAILURES = 5  # of one address from one network, within LOCK_MINUTES
LOCK_FAILURES_ANYWHERE = 50  # of one address from everywhere
LOCK_MINUTES = 15
LOGINS_PER_ADDRESS = 10  # tried in a minute, right or wrong
LOGINS_PER_NETWORK = 60
RESET_HOURS = 24  # how long a reset mail is good for
RESETS_PER_HOUR = 3  # reset mails to one address
LINKS_KEPT = 20  # opened in one browser: their cookies travel with every request
NEW_PASSWORD_MINUTES = 15  # to set another password after a temporary one
PASSWORD_CHECKS = 4  # at once; one of them is kept for who logged in before
KEYRING_SECONDS = 5  # how long a keyring is waited for where nobody can be asked (promises E.5)
SECRET_FILE = 4 * KIB  # one secret, in a file of its own

# Mail in by SMTP.
SMTP_CONNECTIONS = 200  # at once
SMTP_CONNECTIONS_FROM_ONE = 100  # of them from one network
SMTP_IN_FLIGHT = 256 * MIB  # of messages until they are stored, over all connections; half of it from one network
SMTP_COMMAND = 4 * KIB  # one command line
SMTP_CHUNK = 64 * KIB  # read of a message at once
SMTP_RECIPIENTS = 250  # of one message
SMTP_UNKNOWN = 5  # recipients that are not ours, until the connection is closed (promises C.4)
SMTP_MISTAKES = 20  # bad commands and failed log-ins, until the connection is closed
SMTP_REJECTIONS = 100  # refusals of one network that are recorded in a minute
SMTP_REJECTIONS_OF_ALL = 1_000  # of all of them: rows of refusals are kept, and strangers make them
SMTP_IDLE_SECONDS = 300  # between two commands
SMTP_DATA_SECONDS = 1_800  # for the octets of one message
SMTP_BATCH = 100  # messages that share one commit
SMTP_BATCH_OCTETS = 16 * MIB

# Bulk work.
MIMECAST_BATCH = 25
LOCAL_BATCH = 100
CONCURRENCY = 8
MAX_ITEMS = 1_000  # --max, unless given
NOTIFY_UNASKED = 25  # reject notices one command sends without --notify-many

# Calling a portal over the network.
ATTEMPTS = 5  # of one call, where it may be repeated
MOST_ATTEMPTS = 20  # that a caller may ask for
CONNECT_SECONDS = 10
READ_SECONDS = 60  # between two pieces of an answer, unless --timeout
SLOWEST = 1 * KIB  # octets a second of an answer, once it has kept us waiting for the timeout in all
RATE_WAIT = 300  # seconds that a call waits for its quota at the most
ANSWER = 64 * MIB  # of JSON in one answer; files are streamed
FILE = 512 * MIB  # one message or attachment that is fetched

# Large files (portal-rules E).
LARGE_FILE = 2 * 1024 * MIB  # one file
LARGE_FILES = 100  # of one send
LARGE_FILE_RECIPIENTS = 100
LARGE_FILE_NAME = 255  # characters
LARGE_FILE_TEXT = 64 * KIB  # characters of the body of a send
LARGE_FILE_DAYS = 90  # kept from the day it was sent, and never open for longer
CHUNK = 4 * MIB  # of an upload
CHUNKS_AT_ONCE = 4
CHUNK_SLOWEST = 8 * KIB  # octets a second of a body of octets: beyond HTTP_SECONDS it has as long as that takes
UPLOAD_IDLE_SECONDS = 120  # without a chunk an upload reads as paused
UPLOAD_DAYS = 7  # paused it fails
ACCESS_KEY_SHORTEST = 8  # characters
ACCESS_KEY_LONGEST = 128
ACCESS_KEY_HOURS = 8  # for which a recipient's browser is believed to know it
FETCH_SECONDS = 4 * 3_600  # how long the URL of a large file is good for: a slow line may have to resume
FETCH_PARTS = 1_000  # of one file that went out apart from each other, and are remembered for its count
FILES_HASHED = 1_000  # whose SHA-256 is made while they arrive; of others it is made in the end
FILE_THREADS = 4  # that read files which are being fetched
FILE_PIECES = 8 * MIB  # of all of them in memory, a mebibyte of each at the most
FILE_PIECE = 1 * MIB

# Senders.
ADDRESS_CHARACTERS = 254
SENDERS_ADDED = 1_000  # entries in one senders.add
SENDERS_IMPORTED = 2_000  # entries in one senders.import
SENDERS_DELETED = 1_000  # senders in one managed-senders/senders/bulk-delete
AUTO_PERMIT_DAYS = 120  # an auto-permitted entry lapses so long after the last mail to it

# Secure messages.
SECURE_ATTACHMENTS = 50 * MIB  # of one message, their own octets (portal-rules F.19)
SECURE_RECIPIENTS = 250  # of one message, To and Cc together
SECURE_INBOX_DAYS = 60  # that the Inbox shows; older by search (portal-rules F.17)
SECURE_RETENTION_DAYS = 3_650  # kept at the most, and so the latest expiry
SECURE_PER_HOUR = 100  # messages that somebody outside sends
# Mailboxes.
SIGNATURE = 10_000  # characters
DELEGATES = 100  # of one mailbox

# Keeping and delivering.
HOLD_DAYS = 14
PERSON_OCTETS = 50 * 1024 * MIB  # kept for one person; more is refused
RECEIVED_LINES = 50
REJECTION_DAYS = 7  # for which lists tell what was refused (portal-rules C.12); reports tell all of it
WRITTEN_PER_HOUR = 20  # mails of one sort that we write ourselves to one address
DIGEST_ITEMS = 100  # held messages that one digest lists; the next one goes on
FREE_DISK_SHARE = 0.05

LOWERABLE = {
    "message": MESSAGE,
    "json_body": JSON_BODY,
    "page_size": PAGE_SIZE,
    "hold_days": HOLD_DAYS,
    "person_octets": PERSON_OCTETS,
    "quota": QUOTA,
    "large_file": LARGE_FILE,
}
