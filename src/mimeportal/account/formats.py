"""Python's form of each format that a person may prefer for dates and times: plain data, for command and pages."""

DATES = {
    "yyyy-MM-dd": "%Y-%m-%d",
    "dd/MM/yyyy": "%d/%m/%Y",
    "MM/dd/yyyy": "%m/%d/%Y",
    "dd.MM.yyyy": "%d.%m.%Y",
    "dd MMM yyyy": "%d %b %Y",
}
TIMES = {"24h": "%H:%M", "12h": "%I:%M %p"}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
