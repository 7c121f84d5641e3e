-- A video is analyzed or skipped for a stated reason, never both and never neither.
{{ config(meta={'dagster': {'ref': {'name': 'skipped_videos'}}}) }}

select *
from (select * from {{ ref('video_status') }} where state <> 'analyzed') as status
full join {{ ref('skipped_videos') }} as skipped using (video_id)
where
    status.state is distinct from skipped.state
    or status.reason is distinct from skipped.reason
