#!/bin/sh
# Mail the reports of a month, as one page with charts and tables, to whoever reads them.
#
#   mail_monthly_report.sh TO [MONTH]
#
# TO is an address; MONTH is written as 2026-11, and is otherwise the one before this. The profile, or MIMEPORTAL_URL
# and MIMEPORTAL_USER, say whose portal it is: an administrator's, who is also the sender.
set -eu
to=$1
first=${2:-$(date -d "$(date +%Y-%m-01) -1 month" +%Y-%m)}-01
next=$(date -d "$first +1 month" +%Y-%m-%d)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

page="$folder/reports-${first%-01}.html"
mimeportal -q reports page traffic held senders secure-messages logins \
    --since "$first" --until "$next" --title "Mail in ${first%-01}" -w "$page"
mimeportal -q messages send --to "$to" --subject "Mail in ${first%-01}" \
    --body "The reports of the month are in the attached page: open it in a browser, or print it." \
    --attach "$page" >/dev/null
