-- What is turned away was written, what is chosen was there to choose from, and what is chosen goes somewhere.
select *
from {{ ref('candidate_yield') }}
where
    regenerated > texts
    or retained > pool
    or chosen > attempts
    or chosen_from_kept > chosen
    or explored > chosen
    or chosen <> sent_out + sent_to_people + turned_down
