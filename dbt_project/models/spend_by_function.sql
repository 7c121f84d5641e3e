select *
from {{ ref('calls_by_function') }}
order by day, spent desc, product, "function", model
