-- Each review has one outcome, and each estimate is right or wrong.
select *
from {{ ref('moderation_agreement') }}
where
    reviews <> let_through + turned_down
    or estimated > reviews
    or estimated <> both_let_through + both_turned_down + false_alarms + missed
