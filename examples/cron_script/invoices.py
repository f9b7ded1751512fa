"""Makes the month's invoices: python cron_script/invoices.py customers.csv

The file has the columns id and amount. What is wrong with one customer keeps nobody else waiting;
the exit status says whether all went well.
"""

from __future__ import annotations

import csv
import os
import sys
from decimal import Decimal

import sentry_sdk

from sentry_segment import SegmentIntegration


def main() -> int:
    sentry_sdk.init(  # the DSN is taken from SENTRY_DSN, the write key from SEGMENT_WRITE_KEY
        release="shop@1.4.2",
        integrations=[
            SegmentIntegration(
                spool=os.environ.get("SEGMENT_SPOOL"),
            )
        ],
    )
    sentry_sdk.get_isolation_scope().set_transaction_name("invoices")
    failed = 0
    with open(sys.argv[1], newline="") as file:
        for customer in csv.DictReader(file):
            with sentry_sdk.isolation_scope() as scope:  # this customer's alone
                scope.set_user({"id": customer["id"]})
                try:
                    make_invoice(customer["id"], customer["amount"])
                except Exception as error:
                    sentry_sdk.capture_exception(error)
                    failed += 1
    return 1 if failed else 0


def make_invoice(customer_id: str, amount: str) -> None:
    print(f"{customer_id}: {Decimal(amount):.2f}")


if __name__ == "__main__":
    sys.exit(main())
